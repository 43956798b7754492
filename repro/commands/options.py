"""Arguments that several commands take."""

import argparse
from collections.abc import Callable
from pathlib import Path

from repro.config import Plan, load_config


def add_config(parser: argparse.ArgumentParser) -> None:
    """``--config``, for a command that reads the configuration."""
    parser.add_argument("--config", default="config.yaml", help="configuration file (default: config.yaml)")


def add_results(parser: argparse.ArgumentParser) -> None:
    """``--results``, for a command that reads or writes records."""
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the records")


def add_scale(parser: argparse.ArgumentParser) -> None:
    """``--scale`` with ``--config`` and ``--results``, for a command on the runs of a scale; see ``load_plan``."""
    add_config(parser)
    add_results(parser)
    parser.add_argument("--scale", help="scale (default: the configured one)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device`` and ``--threads``, for a command that computes."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=at_least(1), help="CPU threads (default: the scale's)")


def load_plan(arguments: argparse.Namespace) -> Plan:
    """The runs of the scale that was asked for."""
    return Plan(load_config(arguments.config), arguments.scale)


def at_least(minimum: int) -> Callable[[str], int]:
    """An argument's type: a whole number from ``minimum`` on."""

    def parse(text: str) -> int:
        number = int(text)
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{number} is less than {minimum}")
        return number

    parse.__name__ = "integer"  # argparse names it where the text is no number
    return parse
