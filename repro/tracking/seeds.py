"""The seeds of one experiment as children of one run that holds their mean and their deviation."""

import hashlib
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from repro.records import COMPLETED
from repro.tracking.content import CONTENT_VERSION, DIGEST_TAG, KEY_TAG, Identity
from repro.tracking.metrics import SUMMARY, Point, metric_name
from repro.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

PARENT_TAG = "mlflow.parentRunId"
KIND_TAG, SEEDS_KIND = "kind", "seeds"
DEVIATION = "deviation/"
CURVES = tuple(map(metric_name, ("train_loss", "train_accuracy", "test_loss", "test_accuracy")))
SHARED_TAGS = ("experiment", "group", "scale", "spec_hash", "data", "serves_")

Curves = dict[str, dict[int, list[float]]]


def group_seeds(store: Store, scale: str, pulse: Callable[[], None] = lambda: None) -> None:
    """Give every experiment of a scale with two seeds or more its parent run, of what MLflow holds of them.

    What MLflow holds, not what one folder of records does: machines that share a server make the same parent.

    Args:
        store: The store.
        scale: Name of the scale.
        pulse: Called after each experiment.
    """
    found = store.find(scale)
    by_spec: dict[str, dict[int, MlflowRun]] = defaultdict(dict)
    for runs in found.values():
        for run in runs:
            tags = run.data.tags
            if DIGEST_TAG in tags and tags.get(KIND_TAG) != SEEDS_KIND and {"seed", "spec_hash"} <= tags.keys():
                by_spec[tags["spec_hash"]].setdefault(int(tags["seed"]), run)
    for spec_hash, seeds in by_spec.items():
        if len(seeds) > 1:
            key = f"{scale}/{spec_hash}/seeds"
            _group(store, key, [seeds[seed] for seed in sorted(seeds)], found.get(key, []))
            pulse()


def _group(store: Store, key: str, children: Sequence["MlflowRun"], parents: Sequence["MlflowRun"]) -> None:
    told = [str(CONTENT_VERSION), *sorted(run.data.tags[DIGEST_TAG] for run in children)]
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()
    parent = next((run for run in parents if run.data.tags.get(DIGEST_TAG) == digest), None)
    if parent is None:
        parent = _make(store, key, children, digest)
    for run in children:  # before the old parent goes: a child whose parent is deleted is shown nowhere
        if run.data.tags.get(PARENT_TAG) != parent.info.run_id:
            store.client.set_tag(run.info.run_id, PARENT_TAG, parent.info.run_id)
    for run in parents:
        if run.info.run_id != parent.info.run_id:
            store.delete(run)


def _make(store: Store, key: str, children: Sequence["MlflowRun"], digest: str) -> "MlflowRun":
    first = children[0]
    completed = [run for run in children if run.data.tags.get("status") == COMPLETED]
    start, end = min(run.info.start_time for run in children), max(run.info.end_time for run in children)
    identity = _identity(key, children)
    points = [Point(name, value, 0, end) for name, value in _figures(completed).items()]
    points += [
        Point(name, statistics.fmean(values), step, start + step)
        for name, steps in _curves(store, completed).items()
        for step, values in steps.items()
        if len(values) == len(completed)
    ]
    seeds = [run.data.tags["seed"] for run in completed]
    about = (
        f"Mean of {len(completed)} seeds ({', '.join(seeds)}) of `{first.data.tags['experiment']}`; "
        f"`{DEVIATION}…` is the standard deviation of a sample of seeds."
    )
    if len(completed) < len(children):
        about += f" {len(children) - len(completed)} diverged and are left out."
    about_tags = {"mlflow.note.content": about, "seeds": ", ".join(seeds), KIND_TAG: SEEDS_KIND}
    parent = store.create(identity, start, about_tags)
    store.log(parent, points, identity.params)
    store.end(parent, end, digest)
    return parent


def _identity(key: str, children: Sequence["MlflowRun"]) -> Identity:
    tags = children[0].data.tags
    shared = {name: value for name, value in tags.items() if name.startswith(SHARED_TAGS)}
    return Identity(
        key,
        tags["scale"],
        f"{tags['experiment']} {len(children)} seeds",
        {name: value for name, value in children[0].data.params.items() if name != "seed"},
        {**shared, KEY_TAG: key, "mlflow.source.name": "python -m repro track", "mlflow.source.type": "LOCAL"},
    )


def _figures(completed: Sequence["MlflowRun"]) -> Mapping[str, float]:
    """Mean of each figure of a whole run, under its own name, and its deviation."""
    figures: dict[str, float] = {"summary/seeds": float(len(completed))}
    metrics = [run.data.metrics for run in completed]
    for name in metrics[0] if metrics else ():
        if name.startswith(SUMMARY) and all(name in one for one in metrics):
            values = [one[name] for one in metrics]
            figures[name] = statistics.fmean(values)
            if len(values) > 1:
                figures[DEVIATION + name.removeprefix(SUMMARY)] = statistics.stdev(values)
    return figures


def _curves(store: Store, completed: Sequence["MlflowRun"]) -> Curves:
    """Values of all seeds by metric and epoch."""
    curves: Curves = {name: defaultdict(list) for name in CURVES}
    for run in completed:
        for name in CURVES:
            if name in run.data.metrics:
                for metric in store.client.get_metric_history(run.info.run_id, name):
                    curves[name][metric.step].append(metric.value)
    return curves
