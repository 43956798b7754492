"""The command line: ``python -m repro list | plan | train | weights | export | evaluate | ...``."""

import argparse
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

import repro
from repro.errors import ReproError

# In the order in which help lists them; each is a module of ``repro.commands``.
COMMANDS = (
    "init",
    "list",
    "status",
    "plan",
    "train",
    "export",
    "sharpness",
    "evaluate",
    "weights",
    "track",
    "report",
    "refresh",
    "claims",
    "compare",
    "data",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 where the user has something to mend, 2 for a wrong
        call, 128 + signal for a run that was asked to stop.
    """
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("repro").setLevel(logging.INFO)
    run: Callable[[argparse.Namespace], int] = parsed.run
    try:
        return run(parsed)
    except ReproError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"error: this command needs the package {error.name}, which is not installed here", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m repro", description="Reproduction suite for arXiv 2603.13931.")
    parser.add_argument("--version", action="version", version=f"repro {repro.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = importlib.import_module(f"repro.commands.{name}")
        about = (command.__doc__ or "").strip()
        sub = subparsers.add_parser(name, help=about, description=about)
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser
