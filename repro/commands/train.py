"""Train experiments, or go on where they stopped; several take turns in one process."""

import argparse

from repro.commands.options import at_least
from repro.commands.training import RunsToTrain, add_training_arguments
from repro.errors import ReproError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, how, and how many at once."""
    add_training_arguments(parser)
    parser.add_argument("--at-once", type=at_least(1), default=1, help="runs in turns on one GPU (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """Train runs, several in turns if asked, then quantise those that are quantised after training."""
    chosen = RunsToTrain(arguments)
    from repro.train import Interrupted, quantize_run, train_together

    chosen.stop.listen()
    trainings = [run for run in chosen.runs if run.epochs_to_train]
    trainings.sort(key=lambda run: chosen.plan.source(run) is not None)  # who starts from others' weights comes last
    for run, result in train_together(trainings, chosen.settings, arguments.at_once):
        chosen.ended(run, result)
    for run in chosen.runs:
        source = chosen.plan.source(run)
        if source is not None and not run.epochs_to_train and not chosen.stop.requested():
            try:
                with chosen.stop.at_once():
                    record = quantize_run(run, source, chosen.settings(run))
                chosen.ended(run, record)
            except (ReproError, Interrupted) as error:
                chosen.ended(run, error)
    return chosen.status
