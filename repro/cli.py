"""The command line: ``python -m repro list | plan | train | weights | status | track | report | claims | data``.

Every command imports what it needs when it runs, so that ``list`` and ``status`` answer at once.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from repro.config import Config, Plan, Run, load_config
from repro.errors import ReproError

if TYPE_CHECKING:
    from repro.train import Settings

LIVE_TRACKING_SECONDS = 60.0  # shorter runs appear in MLflow when they have ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 where the user has something to mend, 2 for a wrong
        call, 128 + signal for a run that was asked to stop.
    """
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("repro").setLevel(logging.INFO)
    command: Callable[[argparse.Namespace, Config], int] = parsed.command
    try:
        return command(parsed, load_config(parsed.config))
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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace, Config], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        sub.add_argument("--config", default="config.yaml", help="configuration file (default: config.yaml)")
        sub.add_argument("--results", type=Path, default=Path("results"), help="folder of the records")
        return sub

    listing = add("list", _list, "every experiment with the run that serves it")
    status = add("status", _status, "every run of a scale: state, epoch, accuracy, time left")
    planning = add("plan", _plan, "what a scale would cost on this machine: cached runs, runs to train, time")
    train = add("train", _train, "train one experiment with one seed, or go on where it stopped")
    weights = add("weights", _weights, "make sure of a run's weights: they are there, or it is trained (again)")
    for sub in (listing, status, planning, train, weights):
        sub.add_argument("--scale", help="scale (default: the configured one)")
    planning.add_argument("--budget", help="exit with status 1 if it would take longer, such as 90s, 45m, 3h or 2d")
    planning.add_argument("--cores", type=_at_least(1), help="as for snakemake (default: all of this machine)")
    for sub in (train, weights):
        sub.add_argument("experiment", help="a name from `python -m repro list`")
        sub.add_argument("--seed", type=_at_least(0), default=0)
        sub.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
        sub.add_argument("--threads", type=_at_least(1), help="CPU threads (default: the scale's)")
        sub.add_argument("--no-track", action="store_true", help="do not log to MLflow while it trains")
        sub.add_argument("--expect-spec", help="fail unless the run's spec has this hash (used by the workflow)")
    track = add("track", _track, "bring all records into MLflow; can be repeated")
    track.add_argument("--uri", help="MLflow address (default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db)")
    track.add_argument("--stamp", type=Path, help="file to write afterwards (used by the workflow)")
    report = add("report", _report, "build the report from all records, without training")
    report.add_argument("--output", type=Path, default=Path("report"), help="folder of the report")
    add("claims", _claims, "every checkable claim of the paper with its computed verdict")
    data = add("data", _data, "make a data set ready: find or download, verify, cache")
    data.add_argument("name", help="cifar10, cifar100, digits10 or digits100")
    data.add_argument("--download", action="store_true", help="download it where it is absent")
    return parser


def _at_least(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{number} is less than {minimum}")
        return number

    parse.__name__ = "integer"  # argparse names it where the text is no number
    return parse


def _list(arguments: argparse.Namespace, config: Config) -> int:
    from tabulate import tabulate

    plan = Plan(config, arguments.scale)
    rows = []
    for experiment in config.experiments.values():
        runs = plan.runs(experiment.name)
        run, source = runs[0], plan.source(runs[0])
        shared = "" if run.experiment == experiment.name else f"run of {run.experiment}"
        shared = shared or ("" if source is None else f"weights of {source.experiment}")
        data, epochs = run.spec["dataset"]["name"], run.epochs_to_train
        rows.append((experiment.name, experiment.group, data, epochs, run.spec_hash, shared))
    print(f"scale {plan.scale.name}: {plan.scale.description}; seeds {', '.join(map(str, plan.scale.seeds))}")
    print(tabulate(rows, headers=("experiment", "group", "data", "epochs", "spec", "shares the")))
    return 0


def _status(arguments: argparse.Namespace, config: Config) -> int:
    from tabulate import tabulate

    from repro.status import scale_status
    from repro.text import duration

    plan = Plan(config, arguments.scale)
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
    print(tabulate(rows, headers=headers, disable_numparse=True))
    counts = {state: sum(entry.state == state for entry in entries) for state in {e.state for e in entries}}
    print(f"scale {plan.scale.name}: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    return 0


def _plan(arguments: argparse.Namespace, config: Config) -> int:
    from tabulate import tabulate

    from repro.plan import parse_duration, plan_scale, wall_seconds
    from repro.text import duration

    budget = None if arguments.budget is None else parse_duration(arguments.budget)
    plan = Plan(config, arguments.scale)
    planned = plan_scale(plan, arguments.results, _probe)
    rows = [
        (e.run.experiment, e.run.seed, e.state, e.epochs_left, duration(e.seconds) if e.seconds else "", e.source)
        for e in planned
    ]
    print(tabulate(rows, headers=("run", "seed", "state", "epochs left", "time", "from"), disable_numparse=True))
    total = wall_seconds(planned, arguments.cores)
    to_train = sum(1 for entry in planned if entry.seconds)
    print(f"scale {plan.scale.name}: {len(planned) - to_train} cached, {to_train} to train, about {duration(total)}")
    if budget is not None and total > budget:
        print(f"over the budget of {duration(budget)}", file=sys.stderr)
        return 1
    return 0


def _probe(run: Run) -> Mapping[str, float]:
    from repro.train.probe import probe_rates

    print(f"timing a few steps of {run.experiment} at scale {run.scale} ...", file=sys.stderr)
    return probe_rates(run.spec, run.torch_threads)


def _train(arguments: argparse.Namespace, config: Config) -> int:
    from repro.train import Settings, quantize_run, train_run

    plan, run = _planned_run(arguments, config)
    source = plan.source(run)

    def work(settings: Settings) -> str:
        record = train_run(run, settings) if source is None else quantize_run(run, source, settings)
        summary, path = record.summary, run.record_path(arguments.results)
        final, best = summary["final_test_accuracy"], summary["best_test_accuracy"]
        if source is not None:
            return f"{path}: {record.status}, test accuracy {final:.2%}, from the weights of {source.key}"
        return (
            f"{path}: {record.status}, test accuracy {final:.2%} at the last epoch, "
            f"{best:.2%} at the best (epoch {summary['best_test_epoch']})"
        )

    return _until_stopped(arguments, config, run, work)


def _weights(arguments: argparse.Namespace, config: Config) -> int:
    from repro.train import restore_weights

    plan, run = _planned_run(arguments, config)
    source = plan.source(run) or run  # of a PTQ experiment: those that it takes
    return _until_stopped(arguments, config, source, lambda settings: str(restore_weights(source, settings)))


def _planned_run(arguments: argparse.Namespace, config: Config) -> tuple[Plan, Run]:
    plan = Plan(config, arguments.scale)
    run = plan.run(arguments.experiment, arguments.seed)
    if arguments.expect_spec not in (None, run.spec_hash):
        raise ReproError(
            f"{arguments.experiment} now resolves to spec {run.spec_hash}, the workflow planned "
            f"{arguments.expect_spec}: config.yaml was edited while it ran; start snakemake again"
        )
    return plan, run


def _until_stopped(arguments: argparse.Namespace, config: Config, run: Run, work: Callable[["Settings"], str]) -> int:
    """Do ``work`` for ``run`` and print what it says, or end in order where a signal asks for it."""
    from repro.train import Interrupted, Settings, Tracker

    group = config.experiments[run.experiment].group

    def tracker(estimated_seconds: float, started_at: str) -> Tracker | None:
        if arguments.no_track or estimated_seconds < LIVE_TRACKING_SECONDS:
            return None
        from repro.tracking import LiveTracker

        return LiveTracker(run, group, started_at=started_at)

    stop = _StopRequest()
    settings = Settings(
        results=arguments.results,
        device=arguments.device,
        threads=arguments.threads,
        group=group,
        track=tracker,
        stop=stop.requested,
    )
    try:
        print(work(settings))
    except Interrupted:
        print(
            f"stopped by {signal.Signals(stop.signal).name}; the checkpoint holds every step, "
            "the same command goes on from there",
            file=sys.stderr,
        )
        return 128 + stop.signal
    return 0


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


def _track(arguments: argparse.Namespace, config: Config) -> int:
    from repro.tracking import TrackingError, sync_records

    try:
        result = sync_records(arguments.results, arguments.uri)
        outcome = f"{result.added} added, {result.updated} updated, {result.unchanged} unchanged"
        for reason in result.skipped:
            print(f"skipped: {reason}", file=sys.stderr)
    except TrackingError as error:
        if arguments.stamp is None:
            raise
        # the workflow's results stand without MLflow; a later sync brings everything
        print(f"warning: {error}\n`python -m repro track` will catch up", file=sys.stderr)
        outcome = f"not synced: {error}"
    print(f"MLflow: {outcome}")
    if arguments.stamp is not None:
        from repro.records import atomic_write

        atomic_write(arguments.stamp, outcome + "\n")
    return 0


def _report(arguments: argparse.Namespace, config: Config) -> int:
    from repro.report import build_report

    print(build_report(config, arguments.results, arguments.output))
    return 0


def _claims(arguments: argparse.Namespace, config: Config) -> int:
    from repro.analysis import load_evidence
    from repro.claims import format_claims, judge_claims

    print(format_claims(judge_claims(load_evidence(config, arguments.results))))
    return 0


def _data(arguments: argparse.Namespace, config: Config) -> int:
    from repro.data import prepare_dataset

    print(prepare_dataset(arguments.name, download=arguments.download))
    return 0
