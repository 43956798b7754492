"""Build the report from all records, without training."""

import argparse
from pathlib import Path

from repro.commands.options import add_config, add_results
from repro.config import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it goes."""
    add_config(parser)
    add_results(parser)
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder of the report")


def run(arguments: argparse.Namespace) -> int:
    """Build it and name its page."""
    from repro.report import build_report

    print(build_report(load_config(arguments.config), arguments.results, arguments.output))
    return 0
