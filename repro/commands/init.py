"""Write a project folder: configuration, Snakefile and profile, so that the suite runs outside of a clone."""

import argparse
import shlex
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it goes."""
    parser.add_argument("folder", type=Path, help="folder to write to; it is made")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and say what comes next."""
    from repro.project import write_project

    for path in write_project(arguments.folder):
        print(path)
    print(f"next: cd {shlex.quote(str(arguments.folder))} && snakemake --cores 2 --config scale=smoke")
    return 0
