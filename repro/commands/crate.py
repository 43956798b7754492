"""Write a scale's results with what made them as a Workflow Run RO-Crate."""

import argparse
import sys
from pathlib import Path

from repro.commands.options import add_scale, load_plan
from repro.errors import ReproError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which scale, and where to."""
    add_scale(parser)
    parser.add_argument("directory", type=Path, metavar="DIR", help="a new folder")


def run(arguments: argparse.Namespace) -> int:
    """Write it."""
    try:
        from repro.crate import write_crate
    except ModuleNotFoundError as error:
        raise ReproError(f"a crate needs the package {error.name}: pip install rocrate") from None

    plan = load_plan(arguments)
    runs, skipped = write_crate(plan, arguments.results, Path(arguments.config), arguments.directory)
    for reason in skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    print(f"{arguments.directory}: {runs} runs of scale {plan.scale.name}, described in ro-crate-metadata.json")
    return 0
