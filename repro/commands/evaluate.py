"""Accuracy of a file that export wrote, beside its record's."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A file; it holds its own record, so no configuration is read."""
    parser.add_argument("file", type=Path, help="model.safetensors, model.onnx or model-int8.onnx")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="arithmetic (default: the record's)")


def run(arguments: argparse.Namespace) -> int:
    """Print what the file scores and what its record says."""
    from repro.export import evaluate_file

    print(f"{arguments.file}: {evaluate_file(arguments.file, arguments.precision).describe()}")
    return 0
