"""Measure how far a finished run's loss rises when its weights are moved."""

import argparse

from repro.commands.options import add_device, add_scale, add_seed, load_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A run, and on what device."""
    add_scale(parser)
    parser.add_argument("experiment", help="a name from `python -m repro list`")
    add_seed(parser)
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure it and say what was found."""
    from repro.export.sharpness import measure_sharpness
    from repro.records.sharpness import RADIUS, SHARPNESS_NAME

    chosen = load_plan(arguments).run(arguments.experiment, arguments.seed)
    found = measure_sharpness(chosen, arguments.results, arguments.device, arguments.threads)
    print(
        f"{chosen.directory(arguments.results) / SHARPNESS_NAME}: training loss {found.train_loss:.4f}, "
        f"{found.rise:+.4f} where every layer moves by {RADIUS:.0%} of its norm ({found.weights} weights)"
    )
    return 0
