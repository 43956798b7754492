"""Every run of a scale and every seed on disk: state, epoch, accuracy, time left."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from repro.commands.options import add_scale, at_least, load_plan
from repro.config import Plan

if TYPE_CHECKING:
    from repro.status import RunStatus

WATCH_SECONDS = 10
CLEAR = "\x1b[H\x1b[2J"  # of a terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A scale, and whether to go on looking."""
    add_scale(parser)
    parser.add_argument(
        "--watch", type=at_least(1), nargs="?", const=WATCH_SECONDS, metavar="SECONDS",
        help=f"show it anew every so many seconds (default: {WATCH_SECONDS}), until nothing is left to train",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print a table, the number of runs in each state, and how long the rest takes."""
    from repro.costs import ENDED
    from repro.status import scale_status

    plan = load_plan(arguments)
    while True:
        entries = scale_status(plan, arguments.results)
        summary = f"scale {plan.scale.name}: {_counts(entries)}{_left(plan, arguments.results)}"
        print(f"{CLEAR if arguments.watch else ''}{_table(entries)}\n{summary}", flush=True)
        if not arguments.watch or all(entry.state in ENDED for entry in entries):
            return 0
        time.sleep(arguments.watch)


def _table(entries: "list[RunStatus]") -> str:
    from tabulate import tabulate

    from repro.text import duration

    rows = [
        (
            entry.run.experiment + (f" (+{len(entry.serves) - 1})" if len(entry.serves) > 1 else ""),
            entry.run.seed,
            entry.state,
            f"{entry.epoch}/{entry.run.epochs_to_train}" if entry.run.epochs_to_train else "",
            "" if entry.accuracy is None else f"{100 * entry.accuracy:.2f} %",
            "" if not entry.seconds_left else duration(entry.seconds_left),
        )
        for entry in entries
    ]
    headers = ("run (+ experiments it also serves)", "seed", "state", "epoch", "test accuracy", "left")
    for entry in entries:
        if entry.problem:
            print(entry.problem, file=sys.stderr)
    return str(tabulate(rows, headers=headers, disable_numparse=True))


def _counts(entries: "list[RunStatus]") -> str:
    counts = Counter(entry.state for entry in entries)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _left(plan: Plan, results: Path) -> str:
    """How long everything that the scale asks for still takes, by the epochs on disk; nothing where there are none."""
    from repro.costs import mean_rates, scale_costs, wall_seconds
    from repro.text import duration

    rates = mean_rates(plan, results)
    if rates is None:
        return ""
    seconds = wall_seconds(scale_costs(plan, results, lambda run: rates))
    return f"; about {duration(seconds)} left in all on all cores" if seconds else ""
