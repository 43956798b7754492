"""Write a finished run's real files: packed weights, and ONNX."""

import argparse

from repro.commands.options import add_scale, add_seed, load_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A run, and whether ONNX is wanted."""
    add_scale(parser)
    parser.add_argument("experiment", help="a name from `python -m repro list`")
    add_seed(parser)
    parser.add_argument("--onnx", action="store_true", help="also write ONNX, for FP32 and for integers, and time all")


def run(arguments: argparse.Namespace) -> int:
    """Write them and say what was measured of them."""
    from repro.export import export_run
    from repro.text import points

    chosen = load_plan(arguments).run(arguments.experiment, arguments.seed)
    export = export_run(chosen, arguments.results, arguments.onnx)
    directory, packed, onnx, integer = chosen.directory(arguments.results), export.packed, export.onnx, export.integer
    in_fp32 = "" if packed["precision"] == "fp32" else f", {packed['fp32_test_accuracy']:.2%} in fp32"
    print(
        f"{directory / 'model.safetensors'}: {packed['bytes']:,} bytes ({packed['payload_bytes']:,} without metadata)\n"
        f"  test accuracy {packed['test_accuracy']:.2%} in {packed['precision']}{in_fp32}; "
        "logits bit for bit those of the trained model"
    )
    if onnx is not None:
        print(
            f"{directory / 'model.onnx'}: {onnx['bytes']:,} bytes, {', '.join(onnx['weights'])} weights\n"
            f"  test accuracy {onnx['test_accuracy']:.2%}; logits within {onnx['logit_difference']:.1e} of the largest"
        )
    if integer is not None:
        operators = ", ".join(f"{count} {name}" for name, count in integer["operators"].items())
        gained = points(integer["test_accuracy"] - packed["fp32_test_accuracy"])
        print(
            f"{directory / 'model-int8.onnx'}: {integer['bytes']:,} bytes, computes in integers ({operators})\n"
            f"  test accuracy {integer['test_accuracy']:.2%} ({gained}); 8-bit activations from "
            f"{integer['calibration_images']:,} training images"
        )
    return 0
