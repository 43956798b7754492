"""A run's record: one JSON, with its per-epoch and per-layer figures as CSV beside it.

The record is the truth about a run; MLflow and the report are derived from it.
``results/README.md`` documents every field for people who contribute records.
"""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.config.runs import RECORD_NAME
from repro.config.spec import Spec, complete_spec
from repro.errors import ReproError
from repro.records.check import COMPLETED as COMPLETED  # used from here by others
from repro.records.check import DIVERGED as DIVERGED
from repro.records.check import FieldError, check_record, odd_text
from repro.records.files import atomic_write, read_regular
from repro.records.integrity import DamagedError, sealed, unseal
from repro.text import printable, shown

SCHEMA_VERSION = 1
EPOCHS_NAME = "epochs.csv"
LAYERS_NAME = "layers.csv"
LOCK_NAME = ".lock"  # held by the process that trains the run
CHECKPOINT_NAME = "checkpoint.pt"
FORMER_CHECKPOINT_NAME = "checkpoint-before.pt"  # to which a run goes back where the other is damaged
# A workflow that was killed deletes the output of its unfinished job at its next start, also where the
# trainer lived on and finished; from this copy the record is restored without training again.
COPY_NAME = ".finished.json"

EPOCH_COLUMNS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "validation_loss",
    "validation_accuracy",
    "gradient_norm",
    "clipped_share",
    "wall_seconds",
    "images_per_second",
)
LAYER_COLUMNS = (
    "epoch",
    "layer",
    "levels",
    "scale",
    "max_abs_weight",
    "shrink_mean_steps",
    "shrink_max_steps",
)

MOST_BYTES = 10_000_000  # of a record or a CSV; the paper's have some 20 kB

Row = Mapping[str, Any]


class RecordError(ReproError):
    """A record is damaged, or written by a newer version of the suite."""


@dataclass(frozen=True)
class Record:
    """What is known about a finished run. Accuracies are fractions, losses nats, times seconds.

    Attributes:
        experiment: The experiment that owns the run; equal specs share one run.
        group: Its group when it was trained.
        scale: Name of the scale.
        seed: Seed of the run.
        spec: The resolved experiment (``repro.config.Spec``), complete also where the file is older than an option.
        spec_hash: First 8 hexadecimal digits of its hash.
        core_version: Version of the training core, part of the hash.
        status: ``completed`` or ``diverged``.
        reason: Why it counts as diverged; empty otherwise.
        summary: Final, best-on-test and validation-selected figures, parameter counts.
        data: Name, fingerprint, class count and image counts of the data.
        layers: One entry a weight layer: name, shape, levels, scale, entropy, condition, histogram of the weights.
        size: Bytes of the model as FP32, by the paper's count, and really packed.
        compute: FLOPs of a forward pass and of a training step, an image.
        timing: Start, end, training seconds over all resumptions, images/s.
        environment: Versions, commit, machine, device, threads, peak memory.
        schema_version: Version of this shape.
    """

    experiment: str
    group: str
    scale: str
    seed: int
    spec: Spec
    spec_hash: str
    core_version: int
    status: str
    reason: str
    summary: Mapping[str, Any]
    data: Mapping[str, Any]
    layers: Sequence[Mapping[str, Any]]
    size: Mapping[str, int]
    compute: Mapping[str, float]
    timing: Mapping[str, Any]
    environment: Mapping[str, Any]
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> str:
        """Identity in one string, as ``repro.config.Run.key``."""
        return f"{self.scale}/{self.spec_hash}/seed{self.seed}"


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows as CSV, atomically; ``None`` becomes an empty cell.

    Args:
        path: The CSV file.
        columns: Its header; every row has these keys and no other.
        rows: The rows in order.

    Raises:
        StorageError: If the disk is full or the folder cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(path, text.getvalue())


def write_progress(directory: Path, epochs: Sequence[Row], layers: Sequence[Row]) -> None:
    """Write the figures of the epochs so far; called after every epoch."""
    write_rows(directory / EPOCHS_NAME, EPOCH_COLUMNS, epochs)
    write_rows(directory / LAYERS_NAME, LAYER_COLUMNS, layers)


def write_record(directory: Path, record: Record, epochs: Sequence[Row], layers: Sequence[Row]) -> Path:
    """Write CSVs first and the JSON last: where the JSON stands, everything stands.

    Raises:
        StorageError: If the disk is full or the folder cannot be written.
    """
    write_progress(directory, epochs, layers)
    path = directory / RECORD_NAME
    content = _without_nan(dataclasses.asdict(record))
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    atomic_write(directory / COPY_NAME, sealed(text.encode()))
    atomic_write(path, text)
    return path


def restore_record(directory: Path) -> bool:
    """Put a finished run's lost record back from its copy; false where there is none, or its figures are gone.

    Raises:
        RecordError: If the copy is damaged.
    """
    copy = directory / COPY_NAME
    if not all(path.exists() for path in (copy, directory / EPOCHS_NAME, directory / LAYERS_NAME)):
        return False
    try:
        content, _ = unseal(read_regular(copy))
    except (OSError, DamagedError) as error:
        raise RecordError(f"{copy}: {error}; delete the folder to make the run again") from None
    record = _parse(content, copy)
    if len(read_csv_rows(directory / EPOCHS_NAME)) != record.summary.get("epochs_run"):
        return False
    atomic_write(directory / RECORD_NAME, content)
    return True


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: a number that a diverged run lost is null."""
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(path: str | Path) -> Record:
    """Read one record.

    Raises:
        RecordError: If the file is damaged, of a newer schema, or holds what no run gives; the message names it.
    """
    path = Path(path)
    try:
        return _parse(read_limited(path, MOST_BYTES), path)
    except OSError as error:
        raise RecordError(
            f"{path}: not a readable record ({error.strerror}); restore it or delete its folder"
        ) from None


def _parse(content: bytes, path: Path) -> Record:
    raw = parse_json(content, path, "a readable record")
    version = raw.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"{path}: schema version {shown(version)}, this suite reads {SCHEMA_VERSION}; update the suite"
        )
    known = {field.name for field in dataclasses.fields(Record)}
    missing, extra = sorted(known - raw.keys()), sorted(raw.keys() - known)
    if missing or extra:
        raise RecordError(
            f"{path}: missing fields {shown(missing)}, unknown fields {shown(extra)}; see results/README.md"
        )
    try:
        check_record(raw)
        return Record(**{**raw, "spec": complete_spec(raw["spec"])})
    except FieldError as error:
        raise RecordError(f"{path}: {printable(error)}; see results/README.md") from None
    except ReproError as error:
        raise RecordError(f"{path}: {printable(error)}; made by another version of the suite?") from None


def read_limited(path: Path, most: int) -> bytes:
    """A file's bytes.

    Raises:
        OSError: If it cannot be read.
        RecordError: If there are more than ``most``.
    """
    size = path.stat().st_size
    if size > most:
        raise RecordError(f"{path}: {size / 1e6:,.0f} MB, and such a file has at most {most / 1e6:.0f}; delete it")
    return read_regular(path)


def parse_json(content: bytes, path: Path, what: str) -> dict[str, Any]:
    """The mapping that a JSON file holds.

    Raises:
        RecordError: If it is not JSON, or holds something else.
    """
    try:
        raw = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not {what} ({printable(error)}); restore it or delete its folder") from None
    if not isinstance(raw, dict):
        raise RecordError(f"{path}: not {what} (no mapping); restore it or delete its folder")
    odd = odd_text(raw)
    if odd is not None:
        raise RecordError(f"{path}: not {what} (its text {shown(odd)}); restore it or delete its folder")
    return raw


def find_records(results: str | Path = "results") -> list[Path]:
    """Every record file below ``results``, sorted: ``<scale>/<experiment>/seed<k>-<spec8>/record.json``."""
    return sorted(Path(results).glob(f"*/*/seed*-*/{RECORD_NAME}"))


def read_csv_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV as text, for callers that want no pandas; empty where the file is absent.

    Raises:
        RecordError: If it is no such file.
    """
    if not path.exists():
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(read_limited(path, MOST_BYTES).decode(), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise RecordError(f"{path}: not a readable CSV ({printable(error)})") from None
    if any(None in row or None in row.values() for row in rows):
        raise RecordError(f"{path}: not a readable CSV (a row has more or fewer cells than there are columns)")
    return rows
