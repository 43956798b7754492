"""Two experiments or runs side by side: settings that differ, figures, curves, and the paired difference."""

import argparse
from pathlib import Path

from repro.commands.options import add_scale
from repro.config import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which two."""
    add_scale(parser)
    which = "an experiment (NAME), one seed of it (NAME:SEED), or a run's folder"
    parser.add_argument("a", metavar="A", help=which)
    parser.add_argument("b", metavar="B", help="the same, of what A is compared with")


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison."""
    from repro.analysis import load_evidence
    from repro.analysis.compare import compare, find_side

    evidence = load_evidence(load_config(arguments.config), arguments.results)
    scale = arguments.scale or evidence.config.scale
    sides = (find_side(evidence, text, scale, Path(arguments.results)) for text in (arguments.a, arguments.b))
    print(compare(*sides))
    return 0
