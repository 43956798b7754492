"""The command line: ``python -m repro list | plan | train | weights | export | evaluate | ...``."""

import argparse
import contextlib
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

import repro
from repro.errors import ReproError
from repro.text import harmless

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
    "check",
    "crate",
    "report",
    "refresh",
    "claims",
    "clean",
    "compare",
    "data",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 where the user has something to mend, 2 for a wrong
        call, 128 + signal for a run that was asked to stop.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of few characters shows others as ?
            with contextlib.suppress(OSError):  # in a fork, whose streams have become others meanwhile
                stream.reconfigure(errors="replace")
    parsed = _parser().parse_args(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Harmless("%(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("repro").setLevel(logging.INFO)
    run: Callable[[argparse.Namespace], int] = parsed.run
    try:
        return run(parsed)
    except ReproError as error:
        print(f"error: {harmless(str(error))}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"error: this command needs the package {error.name}, which is not installed here", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError, ImportError) as error:
        if not _is_of_memory(error):
            raise
        print("error: there is not enough memory; close other programs, or allow more, and run again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT


def _is_of_memory(error: Exception) -> bool:
    """Whether an error says that memory is short: torch has no class of its own for a CPU's."""
    said = ("t allocate memory", "out of memory", "failed to map segment")
    return isinstance(error, MemoryError) or any(words in str(error) for words in said)


class _Harmless(logging.Formatter):
    """What is logged may come from a file, and a file may hold a terminal's escape sequences."""

    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


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
