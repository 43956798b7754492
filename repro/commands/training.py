"""What ``train`` and ``weights`` share: the runs, signals, live tracking, and what a run says when it ends."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from repro.commands.options import SEED, add_device, add_scale, load_plan
from repro.config import Run
from repro.errors import ReproError
from repro.text import harmless

if TYPE_CHECKING:
    from repro.records import Record
    from repro.train import Interrupted, Settings, Tracker

LIVE_TRACKING_SECONDS = 60.0  # shorter runs appear in MLflow when they have ended


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, on what device."""
    add_scale(parser, writes=True)
    parser.add_argument(
        "experiment", nargs="+", help="names from `python -m repro list`, or `all` that the default job trains"
    )
    parser.add_argument("--seed", type=SEED, nargs="+", default=[0], help="one or several (default: 0)")
    add_device(parser)
    parser.add_argument("--compile", action="store_true", help="compile the model with inductor; changes the last bits")
    parser.add_argument("--no-track", action="store_true", help="do not log to MLflow while it trains")
    parser.add_argument("--expect-spec", help="fail unless the run's spec has this hash (used by the workflow)")


class RunsToTrain:
    """The runs that a command names, each once, with their settings, the stop request and the exit status.

    Attributes:
        plan: The scale.
        runs: The runs.
        stop: Whether the process was asked to stop.
        status: The worst so far.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Find them.

        Raises:
            ReproError: If one is not there, or not as the workflow planned it.
        """
        self.arguments, self.plan = arguments, load_plan(arguments)
        self.stop, self.status = StopRequest(), 0
        names = arguments.experiment
        if names == ["all"]:
            names = [experiment.name for experiment in self.plan.experiments if experiment.by_default]
        elif "all" in names:
            raise ReproError("`all` names every experiment of the default job: give it alone, or the others without")
        named = [self.plan.run(name, seed) for seed in arguments.seed for name in names]
        self.runs = list({run.key: run for run in named}.values())
        for run in self.runs:
            if arguments.expect_spec not in (None, run.spec_hash):
                raise ReproError(
                    f"{run.experiment} now resolves to spec {run.spec_hash}, the workflow planned "
                    f"{arguments.expect_spec}: config.yaml was edited while it ran; start snakemake again"
                )
        if arguments.device != "cpu":
            from repro.train.gpus import hold_a_gpu

            hold_a_gpu()

    def settings(self, run: Run) -> "Settings":
        """Settings of one run."""
        from repro.train import Settings

        arguments, known = self.arguments, self.plan.config.experiments
        group, serves = known[run.experiment].group, [known[name] for name in self.plan.serves[run.spec_hash]]

        def tracker(estimated_seconds: float, started_at: str) -> "Tracker | None":
            if arguments.no_track or estimated_seconds < LIVE_TRACKING_SECONDS:
                return None
            from repro.tracking import LiveTracker

            return LiveTracker(
                run,
                group,
                started_at=started_at,
                experiments=serves,
                results=arguments.results,
                seconds=estimated_seconds,
            )

        return Settings(
            results=arguments.results,
            device=arguments.device,
            threads=arguments.threads,
            group=group,
            track=tracker,
            stop=self.stop.requested,
            compile=arguments.compile,
            plan=self.plan,
            wait=arguments.expect_spec is not None,  # a workflow's job: its killed predecessor's trainer may go on
        )

    def ended(self, run: Run, result: "Record | ReproError | Interrupted") -> None:
        """Say how a run ended, and remember the worst for the exit status."""
        from repro.train import Interrupted

        if isinstance(result, Interrupted):
            goes_on = "the checkpoint holds every step, the same command goes on from there"
            again = "nothing of it is kept, the same command begins it again"
            print(
                f"{run.experiment} seed {run.seed}: stopped by {signal.Signals(self.stop.signal).name}; "
                f"{goes_on if run.epochs_to_train else again}",
                file=sys.stderr,
            )
            self.status = 128 + self.stop.signal
        elif isinstance(result, ReproError):
            print(f"error: {harmless(str(result))}", file=sys.stderr)
            self.status = self.status or 1
        else:
            print(_describe(run.record_path(self.arguments.results), result))


def _describe(path: Path, record: "Record") -> str:
    summary = record.summary
    text = f"{path}: {record.status}, test accuracy {summary['final_test_accuracy']:.2%}"
    if "source_run" in summary:
        before = summary.get("source_test_accuracy")  # not in records made before it was measured
        return f"{text}, from the weights of {summary['source_run']}" + ("" if before is None else f" ({before:.2%})")
    if "best_test_accuracy" not in summary or "best_test_epoch" not in summary:
        return text
    best = f"{summary['best_test_accuracy']:.2%} at the best (epoch {summary['best_test_epoch']})"
    return f"{text} at the last epoch, {best}"


class StopRequest:
    """Remembers SIGTERM, SIGINT or SIGHUP until the trainer has finished its step; a second one stops at once."""

    def __init__(self) -> None:
        self.signal = 0
        self._waits = True

    def listen(self) -> None:
        """From now on; before, a signal ends the process as ever."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._handle)

    def requested(self) -> bool:
        """Whether one came."""
        return self.signal != 0

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While a run has nothing to keep: the first signal ends it wherever it is.

        Raises:
            Interrupted: When the signal comes.
        """
        self._waits = False
        try:
            yield
        finally:
            self._waits = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        if not self._waits:
            from repro.train import Interrupted

            raise Interrupted
