"""Every run of a scale: state, epoch, accuracy, time left."""

import argparse
import sys

from repro.commands.options import add_scale, load_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A scale."""
    add_scale(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a table and the number of runs in each state."""
    from tabulate import tabulate

    from repro.status import scale_status
    from repro.text import duration

    plan = load_plan(arguments)
    entries = scale_status(plan, arguments.results)
    rows = [
        (
            entry.run.experiment + (f" (+{len(entry.serves) - 1})" if len(entry.serves) > 1 else ""),
            entry.run.seed,
            entry.state,
            f"{entry.epoch}/{entry.run.epochs_to_train}",
            "" if entry.accuracy is None else f"{100 * entry.accuracy:.2f} %",
            "" if not entry.seconds_left else duration(entry.seconds_left),
        )
        for entry in entries
    ]
    headers = ("run (+ experiments it also serves)", "seed", "state", "epoch", "test accuracy", "left")
    for entry in entries:
        if entry.problem:
            print(entry.problem, file=sys.stderr)
    print(tabulate(rows, headers=headers, disable_numparse=True))
    counts = {state: sum(entry.state == state for entry in entries) for state in {e.state for e in entries}}
    print(f"scale {plan.scale.name}: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    return 0
