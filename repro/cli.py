"""The command line: ``python -m repro list | plan | train | export | evaluate | ...``.

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
    from repro.records import Record

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
    train = add("train", _train, "train experiments, or go on where they stopped; several take turns in one process")
    export = add("export", _export, "write a finished run's real files: packed weights, and ONNX")
    export.add_argument("experiment", help="a name from `python -m repro list`")
    export.add_argument("--seed", type=_at_least(0), default=0)
    export.add_argument("--onnx", action="store_true", help="also write ONNX, and time both")
    evaluation = add("evaluate", _evaluate, "accuracy of a file that export wrote, beside its record's")
    evaluation.add_argument("file", type=Path, help="model.safetensors or model.onnx")
    evaluation.add_argument("--precision", choices=("fp32", "bf16"), help="arithmetic (default: the record's)")
    for sub in (listing, status, planning, train, export):
        sub.add_argument("--scale", help="scale (default: the configured one)")
    planning.add_argument("--budget", help="exit with status 1 if it would take longer, such as 90s, 45m, 3h or 2d")
    planning.add_argument("--cores", type=_at_least(1), help="as for snakemake (default: all of this machine)")
    train.add_argument("experiment", nargs="+", help="names from `python -m repro list`, or `all`")
    train.add_argument("--seed", type=_at_least(0), nargs="+", default=[0], help="one or several (default: 0)")
    train.add_argument("--at-once", type=_at_least(1), default=1, help="runs in turns on one GPU (default: 1)")
    train.add_argument("--compile", action="store_true", help="compile the model with inductor; changes the last bits")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    train.add_argument("--threads", type=_at_least(1), help="CPU threads (default: the scale's)")
    train.add_argument("--no-track", action="store_true", help="do not log to MLflow while it trains")
    train.add_argument("--expect-spec", help="fail unless the run's spec has this hash (used by the workflow)")
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
        shared = "" if runs[0].experiment == experiment.name else f"run of {runs[0].experiment}"
        spec = runs[0].spec
        rows.append(
            (experiment.name, experiment.group, spec["dataset"]["name"], spec["epochs"], runs[0].spec_hash, shared)
        )
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
            f"{entry.epoch}/{entry.run.spec['epochs']}",
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
    runs = _chosen_runs(arguments, config)
    from repro.train import Interrupted, Settings, Tracker, train_together

    stop = _StopRequest()

    def settings(run: Run) -> Settings:
        group = config.experiments[run.experiment].group

        def tracker(estimated_seconds: float, started_at: str) -> Tracker | None:
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
            stop=stop.requested,
            compile=arguments.compile,
        )

    status = 0
    for run, result in train_together(runs, settings, arguments.at_once):
        if isinstance(result, Interrupted):
            print(
                f"{run.experiment} seed {run.seed}: stopped by {signal.Signals(stop.signal).name}; the checkpoint "
                "holds every step, the same command goes on from there",
                file=sys.stderr,
            )
            status = 128 + stop.signal
        elif isinstance(result, ReproError):
            print(f"error: {result}", file=sys.stderr)
            status = status or 1
        else:
            print(_ended(run, result, arguments.results))
    return status


def _chosen_runs(arguments: argparse.Namespace, config: Config) -> list[Run]:
    """The runs that the command names, each once."""
    plan = Plan(config, arguments.scale)
    names = list(config.experiments) if arguments.experiment == ["all"] else arguments.experiment
    runs = list({run.key: run for seed in arguments.seed for name in names for run in [plan.run(name, seed)]}.values())
    for run in runs:
        if arguments.expect_spec not in (None, run.spec_hash):
            raise ReproError(
                f"{run.experiment} now resolves to spec {run.spec_hash}, the workflow planned "
                f"{arguments.expect_spec}: config.yaml was edited while it ran; start snakemake again"
            )
    return runs


def _ended(run: Run, record: "Record", results: Path) -> str:
    summary = record.summary
    return (
        f"{run.record_path(results)}: {record.status}, test accuracy {summary['final_test_accuracy']:.2%} "
        f"at the last epoch, {summary['best_test_accuracy']:.2%} at the best (epoch {summary['best_test_epoch']})"
    )


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


def _export(arguments: argparse.Namespace, config: Config) -> int:
    from repro.export import export_run

    run = Plan(config, arguments.scale).run(arguments.experiment, arguments.seed)
    export = export_run(run, arguments.results, arguments.onnx)
    directory, packed, onnx = run.directory(arguments.results), export.packed, export.onnx
    print(
        f"{directory / 'model.safetensors'}: {packed['bytes']:,} bytes ({packed['payload_bytes']:,} without metadata)\n"
        f"  test accuracy {packed['test_accuracy']:.2%} in {packed['precision']}, {packed['fp32_test_accuracy']:.2%} "
        "in fp32; logits bit for bit those of the trained model"
    )
    if onnx is not None:
        print(
            f"{directory / 'model.onnx'}: {onnx['bytes']:,} bytes, {', '.join(onnx['weights'])} weights\n"
            f"  test accuracy {onnx['test_accuracy']:.2%}; logits within {onnx['logit_difference']:.1e} of the largest"
        )
    return 0


def _evaluate(arguments: argparse.Namespace, config: Config) -> int:
    from repro.export import evaluate_file

    print(f"{arguments.file}: {evaluate_file(arguments.file, arguments.precision).describe()}")
    return 0


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
