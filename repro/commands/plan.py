"""What a scale would cost on this machine: cached runs, runs to train, time."""

import argparse
import sys
from collections.abc import Mapping

from repro.commands.options import add_scale, at_least, load_plan
from repro.config import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A scale, a budget and the cores to share."""
    add_scale(parser)
    parser.add_argument("--budget", help="exit with status 1 if it would take longer, such as 90s, 45m, 3h or 2d")
    parser.add_argument("--cores", type=at_least(1), help="as for snakemake (default: all of this machine)")


def run(arguments: argparse.Namespace) -> int:
    """Print a table and the sum; status 1 where it is over the budget."""
    from tabulate import tabulate

    from repro.costs import parse_duration, scale_costs, wall_seconds
    from repro.text import duration

    budget = None if arguments.budget is None else parse_duration(arguments.budget)
    plan = load_plan(arguments)
    costs = scale_costs(plan, arguments.results, probe)
    rows = [
        (
            c.run.experiment,
            c.run.seed,
            f"{c.state}, started by hand" if c.by_hand else c.state,
            c.epochs_left,
            duration(c.seconds) if c.seconds else "",
            c.source,
        )
        for c in costs
    ]
    print(tabulate(rows, headers=("run", "seed", "state", "epochs left", "time", "from"), disable_numparse=True))
    total = wall_seconds(costs, arguments.cores)
    asked = [cost for cost in costs if not cost.by_hand]
    to_train = sum(1 for cost in asked if cost.seconds)
    print(f"scale {plan.scale.name}: {len(asked) - to_train} cached, {to_train} to train, about {duration(total)}")
    if budget is not None and total > budget:
        print(f"over the budget of {duration(budget)}", file=sys.stderr)
        return 1
    return 0


def probe(run: Run) -> Mapping[str, float]:
    """Time a few steps of a run."""
    from repro.train.probe import probe_rates

    print(f"timing a few steps of {run.experiment} at scale {run.scale} ...", file=sys.stderr)
    return probe_rates(run.spec, run.torch_threads)
