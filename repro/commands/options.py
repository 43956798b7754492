"""Arguments that several commands take."""

import argparse
from collections.abc import Callable
from pathlib import Path

from repro.config import Plan, load_config
from repro.config.schema import MOST_SEED


def add_config(parser: argparse.ArgumentParser) -> None:
    """``--config``, for a command that reads the configuration."""
    parser.add_argument("--config", default="config.yaml", help="configuration file (default: config.yaml)")


def add_results(parser: argparse.ArgumentParser, *, writes: bool = False) -> None:
    """``--results``, for a command that reads records, or also writes some."""
    kind = Path if writes else _existing_folder
    parser.add_argument("--results", type=kind, default=Path("results"), help="folder of the records")


def add_scale(parser: argparse.ArgumentParser, *, writes: bool = False) -> None:
    """``--scale`` with ``--config`` and ``--results``, for a command on the runs of a scale; see ``load_plan``."""
    add_config(parser)
    add_results(parser, writes=writes)
    parser.add_argument("--scale", help="scale (default: the configured one)")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """``--seed``, for a command on one run."""
    parser.add_argument("--seed", type=SEED, default=0, help="(default: 0)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device`` and ``--threads``, for a command that computes."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=at_least(1), help="CPU threads (default: the scale's)")


def load_plan(arguments: argparse.Namespace) -> Plan:
    """The runs of the scale that was asked for."""
    return Plan(load_config(arguments.config), arguments.scale)


def at_least(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """An argument's type: a whole number from ``minimum`` on, up to ``maximum``."""

    def parse(text: str) -> int:
        number = int(text)
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{number} is less than {minimum}")
        if maximum is not None and number > maximum:
            raise argparse.ArgumentTypeError(f"{number} is more than {maximum}")
        return number

    parse.__name__ = "integer"  # argparse names it where the text is no number
    return parse


def _existing_folder(text: str) -> Path:
    """An argument's type: a folder that is there, so that a mistyped one is not taken for an empty one."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: there is no such folder")
    return Path(text)


SEED = at_least(0, MOST_SEED)
