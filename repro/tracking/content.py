"""What MLflow is told about a run: names, parameters, tags and metrics. Knows nothing of mlflow itself."""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from repro.config.runs import RECORD_NAME, Run
from repro.records import EPOCHS_NAME, LAYERS_NAME, Record, RecordError, read_csv_rows, read_record
from repro.text import printable

# Part of every digest. Raise it when this module tells MLflow something else about the same record.
CONTENT_VERSION = 1
KEY_TAG = "run_key"
DIGEST_TAG = "digest"
FILES = (RECORD_NAME, EPOCHS_NAME, LAYERS_NAME)
LAYER_METRICS = ("levels", "scale", "max_abs_weight")
MAX_PARAM_LENGTH = 6000  # MLflow's limits
MAX_TAG_LENGTH = 8000

Row = Mapping[str, Any]


class Point(NamedTuple):
    """One value of one metric; ``timestamp`` in milliseconds since 1970."""

    key: str
    value: float
    step: int
    timestamp: int


@dataclass(frozen=True)
class Identity:
    """What is known of a run before it trains; the same for a live run and for its record.

    Attributes:
        key: The run's identity, ``Run.key``.
        scale: Name of the scale.
        name: What MLflow's list of runs shows.
        params: The spec, flattened.
        tags: For filtering; among them ``key``.
    """

    key: str
    scale: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Mirror:
    """A record with its CSV files, ready to be told to MLflow.

    Attributes:
        identity: Name, parameters and tags.
        tags: All tags but the digest: the identity's, and how the run ended.
        files: The files to store as artifacts.
        digest: Changes when any of the files does.
        start: When the run started, in milliseconds since 1970.
        end: When it ended, likewise.
        epochs: Rows of ``epochs.csv``.
        layers: Rows of ``layers.csv``.
        summary: Metrics of the whole run.
    """

    identity: Identity
    tags: Mapping[str, str]
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


def identify(run: Run | Record, group: str, data: str) -> Identity:
    """The identity of a planned or of a recorded run; ``data`` is the name of its data set."""
    tags = {
        KEY_TAG: run.key,
        "experiment": run.experiment,
        "group": group,
        "scale": run.scale,
        "seed": str(run.seed),
        "spec_hash": run.spec_hash,
        "data": data,
    }
    name = f"{run.experiment} {run.scale} seed{run.seed}"
    return Identity(run.key, run.scale, name, dict(_flatten(run.spec)), tags)


def read_mirror(path: Path) -> Mirror:
    """Read a record and its CSV files.

    Raises:
        RecordError: If one of them is absent or damaged; the message names it.
    """
    record = read_record(path)
    files = [path.parent / name for name in FILES]
    absent = [file.name for file in files if not file.exists()]
    if absent:
        raise RecordError(f"{path}: {' and '.join(absent)} missing beside it; copy the whole folder again")
    try:
        mirror = _mirror(record, files)
        mirror.points(mirror.start)  # a damaged cell shows here, not half-way through the logging
    except (ArithmeticError, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: damaged ({type(error).__name__}: {printable(error)}); restore its folder") from None
    return mirror


def epoch_points(epochs: Sequence[Row], layers: Sequence[Row], start: int) -> list[Point]:
    """Metrics of epochs: every numeric column, and per layer ``levels.conv1`` and the like.

    An epoch's time is ``start`` plus the training time up to it, not the time of the call: the store
    drops a point that it already holds to the millisecond, so one that is logged twice stays single.
    The epoch's own columns come after those of its layers: where they stand, all of it stands.
    """
    times: dict[int, int] = {}
    seconds = 0.0
    for row in epochs:
        seconds += _number(row["wall_seconds"]) or 0.0
        times[int(row["epoch"])] = start + round(1000 * seconds)
    cells = [(int(row["epoch"]), f"{key}.{row['layer']}", row[key]) for row in layers for key in LAYER_METRICS]
    cells += [(int(row["epoch"]), key, row[key]) for row in epochs for key in row if key != "epoch"]
    numbers = ((epoch, key, _number(value)) for epoch, key, value in cells)
    return [Point(key, value, epoch, times.get(epoch, start)) for epoch, key, value in numbers if value is not None]


def _mirror(record: Record, files: Sequence[Path]) -> Mirror:
    identity = identify(record, record.group, record.data["name"])
    tags = {**identity.tags, "status": record.status}
    if record.reason:
        tags["reason"] = record.reason[:MAX_TAG_LENGTH]
    sections = {"size.": record.size, "compute.": record.compute, "timing.": record.timing, "": record.summary}
    digest = hashlib.sha256(str(CONTENT_VERSION).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return Mirror(
        identity=identity,
        tags=tags,
        files=files,
        digest=digest.hexdigest(),
        start=milliseconds(record.timing["started_at"]),
        end=milliseconds(record.timing["ended_at"]),
        epochs=read_csv_rows(files[1]),
        layers=read_csv_rows(files[2]),
        summary={
            prefix + key: _clip(value)
            for prefix, section in sections.items()
            for key, value in section.items()
            if isinstance(value, int | float)
        },
    )


def _flatten(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield prefix + key, text[:MAX_PARAM_LENGTH]


def milliseconds(moment: str) -> int:
    """An ISO 8601 time of a record as MLflow wants it: milliseconds since 1970."""
    return round(1000 * datetime.fromisoformat(moment).timestamp())


def _number(value: Any) -> float | None:
    """A cell's number, from a CSV or straight from the trainer; ``None`` where it is empty."""
    return None if value is None or value == "" else _clip(float(value))


def _clip(value: float) -> float:
    """MLflow stores NaN, but no infinity: it makes them the largest float, so do it before comparing."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(value))) if value == value else float(value)
