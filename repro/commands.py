"""The commands that train nothing; each imports what it needs when it runs, so that ``list`` answers at once."""

import argparse
import sys
from collections.abc import Mapping

from repro.config import Config, Plan, Run


def list_experiments(arguments: argparse.Namespace, config: Config) -> int:
    """Every experiment with the run that serves it."""
    from tabulate import tabulate

    plan = Plan(config, arguments.scale)
    rows = []
    for experiment in plan.experiments:
        runs = plan.runs(experiment.name)
        run, source = runs[0], plan.source(runs[0])
        shared = "" if run.experiment == experiment.name else f"run of {run.experiment}"
        shared = shared or ("" if source is None else f"weights of {source.experiment}")
        data, epochs = run.spec["dataset"]["name"], run.epochs_to_train
        rows.append((experiment.name, experiment.group, data, epochs, run.spec_hash, shared))
    print(f"scale {plan.scale.name}: {plan.scale.description}; seeds {', '.join(map(str, plan.scale.seeds))}")
    print(tabulate(rows, headers=("experiment", "group", "data", "epochs", "spec", "shares the")))
    return 0


def show_status(arguments: argparse.Namespace, config: Config) -> int:
    """Every run of a scale."""
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


def show_plan(arguments: argparse.Namespace, config: Config) -> int:
    """What a scale would cost on this machine; status 1 where it is over the budget."""
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


def export_files(arguments: argparse.Namespace, config: Config) -> int:
    """Write a finished run's real files."""
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


def measure_sharpness(arguments: argparse.Namespace, config: Config) -> int:
    """How far a finished run's loss rises when its weights are moved."""
    from repro.export.sharpness import measure_sharpness
    from repro.records.sharpness import RADIUS, SHARPNESS_NAME

    run = Plan(config, arguments.scale).run(arguments.experiment, arguments.seed)
    found = measure_sharpness(run, arguments.results, arguments.device, arguments.threads)
    print(
        f"{run.directory(arguments.results) / SHARPNESS_NAME}: training loss {found.train_loss:.4f}, "
        f"{found.rise:+.4f} where every layer moves by {RADIUS:.0%} of its norm ({found.weights} weights)"
    )
    return 0


def evaluate_file(arguments: argparse.Namespace, config: Config) -> int:
    """Accuracy of a file that export wrote."""
    from repro import export

    print(f"{arguments.file}: {export.evaluate_file(arguments.file, arguments.precision).describe()}")
    return 0


def sync_tracking(arguments: argparse.Namespace, config: Config) -> int:
    """Bring all records into MLflow."""
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


def make_report(arguments: argparse.Namespace, config: Config) -> int:
    """Build the report."""
    from repro.report import build_report

    print(build_report(config, arguments.results, arguments.output))
    return 0


def refresh_documents(arguments: argparse.Namespace, config: Config) -> int:
    """Bring README's findings, docs/ and the example figures up to date."""
    from repro.report.page.refresh import refresh

    written = refresh(config, arguments.results, arguments.project)
    print("\n".join(map(str, written)) if written else "README, docs/ and the example figures are current")
    return 0


def show_claims(arguments: argparse.Namespace, config: Config) -> int:
    """The ledger of claims."""
    from repro.analysis import load_evidence
    from repro.claims import format_claims, judge_claims

    print(format_claims(judge_claims(load_evidence(config, arguments.results))))
    return 0


def make_data_ready(arguments: argparse.Namespace, config: Config) -> int:
    """Find or download, verify and cache a data set."""
    from repro.data import prepare_dataset

    print(prepare_dataset(arguments.name, download=arguments.download))
    return 0
