"""What MLflow is told about a run: names, parameters, tags, description and data. Knows nothing of mlflow itself."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from repro.config import CORE_VERSION
from repro.config.load import Config, Experiment
from repro.config.runs import RECORD_NAME, Plan, Run
from repro.records import EPOCHS_NAME, LAYERS_NAME, Record, RecordError, read_csv_rows, read_record
from repro.records.files import read_regular
from repro.text import printable
from repro.tracking.metrics import Point, Row, epoch_points, summary_metrics

# Part of every digest. Raise it when this package tells MLflow something else about the same record.
CONTENT_VERSION = 2
KEY_TAG = "run_key"
DIGEST_TAG = "digest"
STALE_TAG = "stale"
FILES = (RECORD_NAME, EPOCHS_NAME, LAYERS_NAME)
# MLflow's limits
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
MAX_DATASET_DIGEST = 36

# The experiments of a configuration by scale and spec hash.
Serves = Mapping[tuple[str, str], Sequence[Experiment]]


@dataclass(frozen=True)
class Identity:
    """What is known of a run before it trains; the same for a live run and for its record.

    Attributes:
        key: The run's identity, ``Run.key``.
        scale: Name of the scale.
        name: What MLflow's list of runs shows.
        params: The seed and the spec, flattened.
        tags: For filtering; among them ``key``, and ``serves_NAME`` for each experiment that the run serves.
    """

    key: str
    scale: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Dataset:
    """The data of a run as MLflow's dataset input.

    Attributes:
        name: Its name.
        digest: The beginning of its fingerprint.
        source: Name and whole fingerprint, as JSON.
        profile: Counts of images and classes, as JSON.
    """

    name: str
    digest: str
    source: str
    profile: str


@dataclass(frozen=True)
class Mirror:
    """A record with its CSV files, ready to be told to MLflow.

    Attributes:
        identity: Name, parameters and tags.
        tags: All tags but the digest: the identity's, how the run ended, where and by what, and its description.
        dataset: Its data; ``None`` where the record has no fingerprint.
        files: The files to store as artifacts.
        digest: Changes when any of the files or anything else that is told does.
        start: When the run started, in milliseconds since 1970.
        end: When it ended, likewise.
        epochs: Rows of ``epochs.csv``.
        layers: Rows of ``layers.csv``.
        summary: Metrics of the whole run.
    """

    identity: Identity
    tags: Mapping[str, str]
    dataset: Dataset | None
    files: Sequence[Path]
    digest: str
    start: int
    end: int
    epochs: Sequence[Row]
    layers: Sequence[Row]
    summary: Mapping[str, float]

    def points(self, start: int) -> list[Point]:
        """Every metric of a run that MLflow knows to have started at ``start``."""
        summary = [Point(key, value, 0, self.end) for key, value in self.summary.items()]
        return [*epoch_points(self.epochs, self.layers, start), *summary]


def serving(config: Config) -> Serves:
    """Which experiments each run of each scale serves; the first of them owns it."""
    return {
        (scale, spec_hash): [config.experiments[name] for name in names]
        for scale in config.scales
        for spec_hash, names in Plan(config, scale).serves.items()
    }


def identify(run: Run | Record, group: str, data: str, experiments: Sequence[Experiment] | None = None) -> Identity:
    """The identity of a planned or of a recorded run.

    Args:
        run: The run.
        group: Group of its experiment.
        data: Name of its data set.
        experiments: Those that it serves, none if it is stale; where they are not known, its own name alone.
    """
    names = [run.experiment] if experiments is None else [experiment.name for experiment in experiments]
    tags = {
        KEY_TAG: run.key,
        "experiment": run.experiment,
        "group": group,
        "scale": run.scale,
        "seed": str(run.seed),
        "spec_hash": run.spec_hash,
        "data": data,
        **{f"serves_{name}": "yes" for name in names},
        "mlflow.source.name": f"python -m repro train {run.experiment} --scale {run.scale} --seed {run.seed}",
        "mlflow.source.type": "LOCAL",
    }
    params = {"seed": str(run.seed), "core_version": str(getattr(run, "core_version", CORE_VERSION))}
    name = f"{run.experiment} seed{run.seed}"  # MLflow's experiment names the scale; lists cut long names
    return Identity(run.key, run.scale, name, {**params, **dict(_flatten(run.spec))}, tags)


def read_mirror(path: Path, serves: Serves | None = None) -> Mirror:
    """Read a record and its CSV files.

    Args:
        path: The record.
        serves: What the configuration makes of runs; ``None`` where there is none.

    Raises:
        RecordError: If one of them is absent or damaged; the message names it.
    """
    record = read_record(path)
    files = [path.parent / name for name in FILES]
    absent = [file.name for file in files if not file.exists()]
    if absent:
        raise RecordError(f"{path}: {' and '.join(absent)} missing beside it; copy the whole folder again")
    try:
        mirror = _mirror(record, files, serves)
        mirror.points(mirror.start)  # a damaged cell shows here, not half-way through the logging
    except (ArithmeticError, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: damaged ({type(error).__name__}: {printable(error)}); restore its folder") from None
    return mirror


def _mirror(record: Record, files: Sequence[Path], serves: Serves | None) -> Mirror:
    experiments = None if serves is None else serves.get((record.scale, record.spec_hash), [])
    identity = identify(record, record.group, record.data["name"], experiments)
    tags = {
        **identity.tags,
        **_ending(record),
        **{
            f"environment.{key}": str(value)
            for key, value in record.environment.items()
            if _is_scalar(value) and key != "git_commit"
        },
        "mlflow.note.content": _description(record, experiments or []),
    }
    if record.environment.get("git_commit"):
        tags["mlflow.source.git.commit"] = record.environment["git_commit"]
    if experiments == []:
        tags[STALE_TAG] = "yes"
    dataset = _dataset(record.data)
    told = [CONTENT_VERSION, dict(identity.params), tags, dataset and vars(dataset)]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for file in files:
        digest.update(hashlib.sha256(read_regular(file)).digest())
    return Mirror(
        identity=identity,
        tags={key: value[:MAX_TAG_LENGTH] for key, value in tags.items()},
        dataset=dataset,
        files=files,
        digest=digest.hexdigest(),
        start=milliseconds(record.timing["started_at"]),
        end=milliseconds(record.timing["ended_at"]),
        epochs=read_csv_rows(files[1]),
        layers=read_csv_rows(files[2]),
        summary=summary_metrics(record),
    )


def _ending(record: Record) -> dict[str, str]:
    return {"status": record.status} | ({"reason": record.reason} if record.reason else {})


def _description(record: Record, experiments: Sequence[Experiment]) -> str:
    """What MLflow shows above a run, in Markdown."""
    titles = "; ".join(f"{e.title} (`{e.name}`, {e.group})" for e in experiments) or f"`{record.experiment}`"
    summary, data = record.summary, record.data
    lines = [
        titles,
        "",
        f"Scale `{record.scale}`, seed {record.seed}, {summary['epochs_run']} epochs on {data['name']}.",
    ]
    if record.status == "completed" and isinstance(summary.get("final_test_accuracy"), float):
        best = summary.get("best_test_accuracy")
        chosen = f"; the best of all epochs, chosen on the test set, {best:.2%}" if isinstance(best, float) else ""
        lines.append(f"Test accuracy at the last epoch {summary['final_test_accuracy']:.2%}{chosen}.")
    elif record.reason:
        lines.append(f"Diverged: {record.reason}.")
    if summary.get("source_run"):
        lines.append(f"Quantised after training from the weights of `{summary['source_run']}`.")
    lines += ["", f"A mirror of `{_home(record)}` in the folder of the records; run key `{record.key}`."]
    return "\n".join(lines)


def _home(record: Record) -> str:
    return f"{record.scale}/{record.experiment}/seed{record.seed}-{record.spec_hash}/{RECORD_NAME}"


def _dataset(data: Mapping[str, Any]) -> Dataset | None:
    if "fingerprint" not in data:
        return None
    source = {key: data[key] for key in ("name", "fingerprint")}
    counts = {key: value for key, value in data.items() if key not in source}
    return Dataset(
        data["name"], str(data["fingerprint"])[:MAX_DATASET_DIGEST], json.dumps(source),
        json.dumps({"num_rows": data.get("train_images"), **counts}),
    )  # fmt: skip


def _flatten(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield prefix + key, text[:MAX_PARAM_LENGTH]


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


def milliseconds(moment: str) -> int:
    """An ISO 8601 time of a record as MLflow wants it: milliseconds since 1970."""
    return round(1000 * datetime.fromisoformat(moment).timestamp())
