"""Say, and with --yes remove, what killed processes left behind."""

import argparse
from pathlib import Path

from repro.commands.options import add_config, add_results
from repro.config import Plan, load_config
from repro.text import harmless


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to look; nothing is removed unless it is asked for."""
    add_config(parser)
    add_results(parser)
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder of the report")
    parser.add_argument("--yes", action="store_true", help="remove it (default: only say what would go)")


def run(arguments: argparse.Namespace) -> int:
    """Name each with its size and why it can go."""
    from repro.data import data_directory
    from repro.leftovers import find_leftovers

    config, output = load_config(arguments.config), arguments.output
    others = [Path(), output, *(output / name for name in ("tables", "figures")), data_directory() / "cache"]
    found = find_leftovers([Plan(config, scale) for scale in config.scales], arguments.results, others)
    for leftover in found:
        print(harmless(f"{leftover.path} ({leftover.size:,} bytes): {leftover.reason}"))
        if arguments.yes:
            leftover.remove()
    if not found:
        print("nothing is left over")
    elif not arguments.yes:
        print(f"{len(found)} would go; `python -m repro clean --yes` removes them")
    return 0
