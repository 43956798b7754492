"""Make a data set ready: find or download, verify, cache."""

import argparse

from repro.config.registry import DATASETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which data set; no configuration is read."""
    parser.add_argument("name", help=", ".join(DATASETS))
    parser.add_argument("--download", action="store_true", help="download it where it is absent")


def run(arguments: argparse.Namespace) -> int:
    """Find or download, verify and cache it."""
    from repro.data import prepare_dataset

    print(prepare_dataset(arguments.name, download=arguments.download))
    return 0
