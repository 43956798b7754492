"""Check records from elsewhere before they are taken."""

import argparse
from pathlib import Path

from repro.commands.options import add_config
from repro.errors import ReproError
from repro.text import harmless


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which folders."""
    add_config(parser)
    parser.add_argument("folder", type=Path, nargs="+", help="a run's folder, or one with runs anywhere below it")


def run(arguments: argparse.Namespace) -> int:
    """Say of each record whether it can be taken, and if not why; the exit status is 1 if any cannot."""
    from repro.check import check_run, find_folders
    from repro.config import load_config

    config = load_config(arguments.config)
    refused = 0
    for given in arguments.folder:
        if not given.is_dir():
            raise ReproError(f"{given}: there is no such folder")
        folders = find_folders(given)
        if not folders:
            raise ReproError(f"{given}: no record.json in it; name a run's folder, or one with runs below it")
        for folder in folders:
            problems = check_run(folder, config)
            refused += bool(problems)
            print(harmless(f"{'refused' if problems else 'accepted'}: {folder}"))
            for problem in problems:
                print(harmless(f"  {problem}"))
    return 1 if refused else 0
