"""One record as rows of data frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from repro.records import (
    COMPLETED,
    DIVERGED,
    EPOCH_COLUMNS,
    EPOCHS_NAME,
    LAYER_COLUMNS,
    LAYERS_NAME,
    Record,
    RecordError,
    read_record,
)

# Columns of ``Evidence.runs`` that hold numbers; an absent one is NaN. Accuracies are fractions, sizes bytes.
NUMBERS = (
    "classes", "train_images", "validation_images", "test_images", "epochs", "epochs_run",
    "best_test_accuracy", "best_test_epoch", "best_epoch_train_accuracy", "best_epoch_levels_min",
    "final_test_accuracy", "final_train_accuracy", "validated_test_accuracy", "validated_epoch",
    "parameters", "quantized_weights", "fp32_bytes", "paper_bytes", "packed_bytes",
    "paper_compression", "packed_compression", "wall_seconds", "train_images_per_second",
)  # fmt: skip
TEXTS = ("run", "path", "spec_hash", "status", "reason", "data", "data_fingerprint", "precision",
         "device", "device_name", "commit")  # fmt: skip

# In the frames, ``scale`` is the scale of the run.
RENAMED = {"scale": "level_scale"}


@dataclass(frozen=True)
class LoadedRun:
    """A record with its tables, as rows.

    Attributes:
        record: The record.
        path: Its folder below the results, such as ``short/main_cifar10/seed0-1a2b3c4d``.
        row: Columns ``NUMBERS`` and ``TEXTS`` of ``Evidence.runs``.
        epochs: ``epochs.csv``, all numbers.
        layers: ``layers.csv``, its ``scale`` (weight units a level) as ``level_scale``.
    """

    record: Record
    path: str
    row: Mapping[str, Any]
    epochs: pd.DataFrame
    layers: pd.DataFrame


def load_run(path: Path, results: Path) -> LoadedRun:
    """Read a record and the CSVs beside it.

    Raises:
        RecordError: If anything that the report needs is damaged or missing; the message names the file.
    """
    record = read_record(path)
    try:
        _check_identity(record)
        epochs = _read_csv(path.with_name(EPOCHS_NAME), EPOCH_COLUMNS)
        layers = _read_csv(path.with_name(LAYERS_NAME), LAYER_COLUMNS).rename(columns=RENAMED)
        if len(epochs) != record.summary["epochs_run"]:
            raise ValueError(f"{EPOCHS_NAME} has {len(epochs)} epochs, the record {record.summary['epochs_run']}")
        folder = path.parent.relative_to(results).as_posix()
        row = _run_row(record, folder, epochs, layers)
    except KeyError as error:
        raise RecordError(f"{path}: lacks {error}; see results/README.md") from None
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{path}: not a usable record ({error}); restore it or delete its folder") from None
    return LoadedRun(record, folder, row, epochs, layers)


def _check_identity(record: Record) -> None:
    """The fields that records are matched by; anything else would fail far from its file."""
    if not isinstance(record.scale, str) or not isinstance(record.spec_hash, str) or type(record.seed) is not int:
        raise TypeError("scale and spec_hash must be text, seed a whole number")
    if record.status not in (COMPLETED, DIVERGED):
        raise ValueError(f"unknown status {record.status!r}")


def _read_csv(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.read_csv(path)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"{path.name} lacks the columns {', '.join(missing)}")
    for name in columns:
        if name != "layer":
            frame[name] = pd.to_numeric(frame[name]).astype(float)
    return frame[list(columns)]


def _run_row(record: Record, folder: str, epochs: pd.DataFrame, layers: pd.DataFrame) -> dict[str, Any]:
    summary, size, environment = record.summary, record.size, record.environment
    best = summary["best_test_epoch"]
    texts = {
        "run": record.key,
        "path": folder,
        "spec_hash": record.spec_hash,
        "status": record.status,
        "reason": record.reason,
        "data": record.data["name"],
        "data_fingerprint": str(record.data["fingerprint"]),
        "precision": record.spec["precision"],
        "device": environment["device"],
        "device_name": environment["device_name"],
        "commit": _commit(environment),
    }
    numbers = {
        **{name: record.data[name] for name in ("classes", "train_images", "validation_images", "test_images")},
        **{name: summary[name] for name in NUMBERS if name in summary},
        **{name: size[name] for name in ("fp32_bytes", "paper_bytes", "packed_bytes")},
        **{name: record.timing[name] for name in ("wall_seconds", "train_images_per_second")},
        "epochs": record.spec["epochs"],
        "best_epoch_train_accuracy": epochs.loc[epochs["epoch"] == best, "train_accuracy"].max(),
        "best_epoch_levels_min": layers.loc[layers["epoch"] == best, "levels"].min(),
        "paper_compression": size["fp32_bytes"] / size["paper_bytes"],
        "packed_compression": size["fp32_bytes"] / size["packed_bytes"],
    }
    return {**texts, **{name: _number(numbers[name]) for name in NUMBERS}}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _commit(environment: Mapping[str, Any]) -> str:
    """First 8 digits; a plus says that files differed from the commit."""
    commit = environment["git_commit"]
    return f"{commit[:8]}{'+' if environment['git_dirty'] else ''}" if commit else ""
