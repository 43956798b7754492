"""Make sure of weights: they are there, or trained (again)."""

import argparse

from repro.commands.training import RunsToTrain, add_training_arguments
from repro.errors import ReproError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and how."""
    add_training_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make sure of the weights of runs; of a PTQ experiment, of those that it takes."""
    chosen = RunsToTrain(arguments)
    from repro.train import Interrupted, restore_weights

    chosen.stop.listen()
    for run in chosen.runs:
        source = run if run.epochs_to_train else chosen.plan.source(run) or run
        try:
            print(restore_weights(source, chosen.settings(source)))
        except (ReproError, Interrupted) as error:
            chosen.ended(source, error)
    return chosen.status
