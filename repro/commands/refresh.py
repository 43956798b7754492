"""Bring README's findings, docs/ and the example figures up to date."""

import argparse
from pathlib import Path

from repro.commands.options import add_config, add_results
from repro.config import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the repository is."""
    add_config(parser)
    add_results(parser)
    parser.add_argument("--project", type=Path, default=Path(), help="the repository's root")


def run(arguments: argparse.Namespace) -> int:
    """Write what is not current and name it."""
    from repro.report.page.refresh import refresh

    written = refresh(load_config(arguments.config), arguments.results, arguments.project)
    print("\n".join(map(str, written)) if written else "README, docs/ and the example figures are current")
    return 0
