"""Every experiment with the run that serves it."""

import argparse

from repro.commands.options import add_scale, load_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A scale."""
    add_scale(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a table."""
    from tabulate import tabulate

    plan = load_plan(arguments)
    rows = []
    for experiment in plan.experiments:
        first = plan.runs(experiment.name)[0]
        source = plan.source(first)
        shared = "" if first.experiment == experiment.name else f"run of {first.experiment}"
        shared = shared or ("" if source is None else f"weights of {source.experiment}")
        data, epochs = first.spec["dataset"]["name"], first.epochs_to_train
        rows.append((experiment.name, experiment.group, data, epochs, first.spec_hash, shared))
    print(f"scale {plan.scale.name}: {plan.scale.description}; seeds {', '.join(map(str, plan.scale.seeds))}")
    print(tabulate(rows, headers=("experiment", "group", "data", "epochs", "spec", "shares the")))
    return 0
