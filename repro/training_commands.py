"""The commands ``train`` and ``weights``: signals, live tracking, and what a run says when it ends."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from repro.config import Config, Plan, Run
from repro.errors import ReproError

if TYPE_CHECKING:
    from repro.records import Record
    from repro.train import Interrupted, Settings, Tracker

LIVE_TRACKING_SECONDS = 60.0  # shorter runs appear in MLflow when they have ended


def train(arguments: argparse.Namespace, config: Config) -> int:
    """Train runs, several in turns if asked, then quantise those that are quantised after training."""
    plan, runs = _chosen_runs(arguments, config)
    from repro.train import quantize_run, train_together

    session = _Session(arguments, config, plan)
    trainings = [run for run in runs if plan.source(run) is None]
    for run, result in train_together(trainings, session.settings, arguments.at_once):
        session.ended(run, result)
    for run in runs:
        source = plan.source(run)
        if source is not None and not session.stop.requested():
            try:
                session.ended(run, quantize_run(run, source, session.settings(run)))
            except ReproError as error:
                session.ended(run, error)
    return session.status


def make_weights(arguments: argparse.Namespace, config: Config) -> int:
    """Make sure of the weights of runs; of a PTQ experiment, of those that it takes."""
    plan, runs = _chosen_runs(arguments, config)
    from repro.train import Interrupted, restore_weights

    session = _Session(arguments, config, plan)
    for run in runs:
        source = plan.source(run) or run
        try:
            print(restore_weights(source, session.settings(source)))
        except (ReproError, Interrupted) as error:
            session.ended(source, error)
    return session.status


def _chosen_runs(arguments: argparse.Namespace, config: Config) -> tuple[Plan, list[Run]]:
    """The runs that the command names, each once."""
    plan = Plan(config, arguments.scale)
    names = [e.name for e in plan.experiments] if arguments.experiment == ["all"] else arguments.experiment
    runs = list({run.key: run for seed in arguments.seed for name in names for run in [plan.run(name, seed)]}.values())
    for run in runs:
        if arguments.expect_spec not in (None, run.spec_hash):
            raise ReproError(
                f"{run.experiment} now resolves to spec {run.spec_hash}, the workflow planned "
                f"{arguments.expect_spec}: config.yaml was edited while it ran; start snakemake again"
            )
    return plan, runs


class _Session:
    """One command's settings, its stop request, and its exit status."""

    def __init__(self, arguments: argparse.Namespace, config: Config, plan: Plan) -> None:
        self.arguments, self.config, self.plan = arguments, config, plan
        self.stop, self.status = _StopRequest(), 0

    def settings(self, run: Run) -> "Settings":
        """Settings of one run."""
        from repro.train import Settings

        arguments, group = self.arguments, self.config.experiments[run.experiment].group

        def tracker(estimated_seconds: float, started_at: str) -> "Tracker | None":
            if arguments.no_track or estimated_seconds < LIVE_TRACKING_SECONDS:
                return None
            from repro.tracking import LiveTracker

            return LiveTracker(run, group, started_at=started_at)

        return Settings(
            results=arguments.results,
            device=arguments.device,
            threads=arguments.threads,
            group=group,
            track=tracker,
            stop=self.stop.requested,
            compile=arguments.compile,
            plan=self.plan,
        )

    def ended(self, run: Run, result: "Record | ReproError | Interrupted") -> None:
        """Say how a run ended, and remember the worst for the exit status."""
        from repro.train import Interrupted

        if isinstance(result, Interrupted):
            print(
                f"{run.experiment} seed {run.seed}: stopped by {signal.Signals(self.stop.signal).name}; the checkpoint "
                "holds every step, the same command goes on from there",
                file=sys.stderr,
            )
            self.status = 128 + self.stop.signal
        elif isinstance(result, ReproError):
            print(f"error: {result}", file=sys.stderr)
            self.status = self.status or 1
        else:
            print(_describe(run.record_path(self.arguments.results), result))


def _describe(path: Path, record: "Record") -> str:
    summary = record.summary
    text = f"{path}: {record.status}, test accuracy {summary['final_test_accuracy']:.2%}"
    if "source_run" in summary:
        return f"{text}, from the weights of {summary['source_run']}"
    best = f"{summary['best_test_accuracy']:.2%} at the best (epoch {summary['best_test_epoch']})"
    return f"{text} at the last epoch, {best}"


class _StopRequest:
    """Remembers SIGTERM, SIGINT or SIGHUP until the trainer has finished its step; a second one stops at once."""

    def __init__(self) -> None:
        self.signal = 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._handle)

    def requested(self) -> bool:
        return self.signal != 0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
