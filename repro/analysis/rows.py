"""One record as rows of data frames."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from repro.config.options import NONE
from repro.config.spec import Spec, hash_spec, quantization
from repro.config.trajectories import trajectory_hash
from repro.records import (
    COMPLETED,
    DIVERGED,
    EPOCH_COLUMNS,
    EPOCHS_NAME,
    EXPORT_NUMBERS,
    LAYER_COLUMNS,
    LAYERS_NAME,
    Export,
    Record,
    RecordError,
    export_numbers,
    read_export,
    read_record,
)
from repro.records.check import MOST_WHOLE, text
from repro.records.record import MOST_BYTES, read_limited
from repro.records.sharpness import read_sharpness
from repro.text import harmless, printable

# Columns of ``Evidence.runs`` that hold numbers; an absent one is NaN. Accuracies are fractions, sizes bytes.
NUMBERS = (
    "classes", "train_images", "validation_images", "test_images", "epochs", "epochs_run",
    "best_test_accuracy", "best_test_epoch", "best_epoch_train_accuracy", "best_epoch_levels_min",
    "final_test_accuracy", "final_train_accuracy", "validated_test_accuracy", "validated_epoch", "source_test_accuracy",
    "parameters", "quantized_weights", "fp32_bytes", "paper_bytes", "packed_bytes",
    "paper_compression", "packed_compression", "wall_seconds", "shared_seconds", "train_images_per_second",
    "forward_flops_per_image", "step_flops_per_image", "torch_threads", "width", "bit_width",
    "weight_bits", "final_levels_min", "final_levels_max", "packed_bits", "oscillating_share",
)  # fmt: skip
TEXTS = ("run", "path", "spec_hash", "status", "reason", "data", "data_fingerprint", "precision", "device",
         "device_name", "commit", "architecture", "processor", "platform", "recipe", "trajectory",
         "quantizer", "source_run", "kernels")  # fmt: skip
# The same of ``export.json`` and ``sharpness.json``, where there are such.
EXPORT_COLUMNS = (*EXPORT_NUMBERS, "export_threads", "sharpness")
EXPORT_TEXTS = ("export_platform", "onnx_weights")
# One row a weight layer: its latent weights at the end. Edges and counts are lists, one more edge than counts.
WEIGHT_COLUMNS = ("layer", "max_abs_weight", "edges", "counts")

NAN = math.nan

# In the frames, ``scale`` is the scale of the run.
RENAMED = {"scale": "level_scale"}


@dataclass(frozen=True)
class LoadedRun:
    """A record with its tables, as rows.

    Attributes:
        record: The record.
        path: Its folder below the results, such as ``short/main_cifar10/seed0-1a2b3c4d``.
        row: Columns ``NUMBERS``, ``TEXTS``, ``EXPORT_COLUMNS`` and ``EXPORT_TEXTS`` of ``Evidence.runs``.
        epochs: ``epochs.csv``, all numbers.
        layers: ``layers.csv``, its ``scale`` (weight units a level) as ``level_scale``.
        weights: Columns ``WEIGHT_COLUMNS``, from the record's ``layers``; without those that hold no finite weight.
    """

    record: Record
    path: str
    row: Mapping[str, Any]
    epochs: pd.DataFrame
    layers: pd.DataFrame
    weights: pd.DataFrame


def load_run(path: Path, results: Path) -> LoadedRun:
    """Read a record and the CSVs beside it.

    Raises:
        RecordError: If anything that the report needs is damaged or missing; the message names the file.
    """
    record = read_record(path)
    try:
        _check_identity(record)
        epochs = _read_csv(path.with_name(EPOCHS_NAME), EPOCH_COLUMNS)
        layers = _read_csv(path.with_name(LAYERS_NAME), LAYER_COLUMNS)
        layers.columns = pd.Index([RENAMED.get(name, name) for name in LAYER_COLUMNS])
        if len(epochs) != record.summary["epochs_run"]:
            raise ValueError(f"{EPOCHS_NAME} has {len(epochs)} epochs, the record {record.summary['epochs_run']}")
        folder = harmless(path.parent.relative_to(results).as_posix())  # as it is shown
        export = read_export(path.parent, record.spec_hash, record.seed)
        sharpness = {"sharpness": read_sharpness(path.parent, record.spec_hash, record.seed)}
        row = {**_run_row(record, folder, epochs, layers), **_export_row(export), **sharpness}
        weights = _weight_rows(record)
    except KeyError as error:
        raise RecordError(f"{path}: lacks {printable(error)}; see results/README.md") from None
    except (OSError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = f"not a usable record ({printable(error)})"
        raise RecordError(f"{path}: {reason}; restore it or delete its folder") from None
    return LoadedRun(record, folder, row, epochs, layers, weights)


def _check_identity(record: Record) -> None:
    """The fields that records are matched by; anything else would fail far from its file."""
    if not isinstance(record.scale, str) or not isinstance(record.spec_hash, str) or type(record.seed) is not int:
        raise TypeError("scale and spec_hash must be text, seed a whole number")
    if record.status not in (COMPLETED, DIVERGED):
        raise ValueError(f"unknown status {record.status!r}")


def _read_csv(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    types = {name: float for name in columns if name != "layer"}
    frame = pd.read_csv(io.BytesIO(read_limited(path, MOST_BYTES)), dtype=types)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"{path.name} lacks the columns {', '.join(missing)}")
    epochs = frame["epoch"].to_numpy()
    if not ((epochs >= 1) & (epochs <= MOST_WHOLE)).all():
        raise ValueError(f"{path.name} has an epoch that is none")
    if "layer" in columns and not all(map(text, frame["layer"].unique())):
        raise ValueError(f"{path.name} has a layer without a name")
    return frame if list(frame.columns) == list(columns) else frame[list(columns)]


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
        "architecture": environment.get("architecture") or "",
        "processor": environment.get("processor") or "",
        "platform": _platform(environment),
        "recipe": _recipe(record.spec),
        "trajectory": _trajectory(record.spec),
        "quantizer": _quantizer(record.spec),
        "source_run": summary.get("source_run", ""),
        "kernels": (environment.get("kernels") or {}).get("step", "torch"),  # older records had no others
    }
    numbers = {
        **{name: record.data[name] for name in ("classes", "train_images", "validation_images", "test_images")},
        **{name: summary[name] for name in NUMBERS if name in summary},
        **{name: size[name] for name in ("fp32_bytes", "paper_bytes", "packed_bytes")},
        **{name: record.timing[name] for name in ("wall_seconds", "train_images_per_second")},
        **{name: record.compute[name] for name in ("forward_flops_per_image", "step_flops_per_image")},
        "shared_seconds": (environment.get("shared") or {}).get("wall_seconds", 0.0),
        "torch_threads": environment.get("torch_threads"),
        "width": record.spec["model"].get("width"),
        "bit_width": quantization(record.spec).get("bit_width"),
        "epochs": record.spec["epochs"],
        "best_epoch_train_accuracy": max(_known(epochs, best, "train_accuracy"), default=NAN),
        "best_epoch_levels_min": min(_known(layers, best, "levels"), default=NAN),
        "paper_compression": size["fp32_bytes"] / size["paper_bytes"],
        "packed_compression": size["fp32_bytes"] / size["packed_bytes"],
        "weight_bits": round(8 * size["paper_bytes"] / summary["parameters"]),
        "packed_bits": 8 * size["packed_bytes"] / summary["parameters"],
        "oscillating_share": summary.get("oscillating_share"),
        "source_test_accuracy": summary.get("source_test_accuracy"),
        **_final_levels(layers),
    }
    return {**texts, **{name: _number(numbers[name]) for name in NUMBERS}}


def _export_row(export: Export | None) -> dict[str, Any]:
    """What ``export.json`` says; NaN and empty where the run was not exported."""
    environment = export.environment if export else {}
    onnx = export.onnx if export and export.onnx else {"weights": []}
    return {
        **export_numbers(export),
        "export_threads": _number(environment.get("torch_threads")),
        "export_platform": _platform({"device": "cpu", "device_name": "", **environment}) if export else "",
        "onnx_weights": ", ".join(onnx["weights"]),
    }


def _final_levels(layers: pd.DataFrame) -> dict[str, float]:
    """Fewest and most levels in use of a layer after the last epoch; layers that stay in FP32 do not count."""
    levels = _known(layers, layers["epoch"].max(), "levels")
    return {"final_levels_min": min(levels, default=NAN), "final_levels_max": max(levels, default=NAN)}


def _known(frame: pd.DataFrame, epoch: float, column: str) -> list[float]:
    """The figures of an epoch that are there."""
    values = frame[column].to_numpy()[frame["epoch"].to_numpy() == epoch]
    return [value for value in values.tolist() if value == value]  # NaN differs from itself


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)


def _commit(environment: Mapping[str, Any]) -> str:
    """First 8 digits; a plus says that files differed from the commit."""
    commit = environment["git_commit"]
    return f"{commit[:8]}{'+' if environment['git_dirty'] else ''}" if commit else ""


def _platform(environment: Mapping[str, Any]) -> str:
    """Architecture and what the arithmetic ran on, such as ``aarch64 · a processor``."""
    on_cpu = environment["device"] == "cpu"
    name = environment.get("processor") if on_cpu else f"{environment['device_name']} ({environment['device']})"
    parts = [environment.get("architecture"), name or environment["device_name"]]
    return " · ".join(str(part) for part in dict.fromkeys(parts) if part)


def _recipe(spec: Spec) -> str:
    """Runs that differ in nothing but their quantisation have the same."""
    return hash_spec({**spec, "quantizer": {"name": NONE}, "ptq": {"name": NONE}})


def _trajectory(spec: Spec) -> str:
    """Runs of one seed that have the same can be one training seen at several lengths, so they count as one.

    The number of epochs says where a run stops, a restart in place of the rising cosine where it turns off, and PTQ
    what is done with the weights; the length of the cosine in epochs, which sets the first rates, stands after the
    dash: runs that differ in it alone are one training too, for as long as their figures are equal.
    """
    lengths = [value for name, value in spec["schedule"].items() if name in ("t_max", "period")]
    return f"{trajectory_hash({**spec, 'ptq': {'name': NONE}})}-{'-'.join(map(str, lengths))}"


def _quantizer(spec: Spec) -> str:
    """The quantiser without its bit width: ``absmax``, ``absmax_fixed, clip 3.0``, ``PTQ mse``; ``none`` for FP32."""
    options = quantization(spec)
    others = [f"{key} {value}" for key, value in sorted(options.items()) if key not in ("name", "bit_width")]
    return ", ".join([str(options["name"]), *others])


def _weight_rows(record: Record) -> pd.DataFrame:
    rows = [
        {"layer": layer["name"], "max_abs_weight": layer["max_abs_weight"], **layer["histogram"]}
        for layer in record.layers
        if layer["histogram"]["counts"] and layer["max_abs_weight"] is not None
    ]
    if any(len(row["edges"]) != len(row["counts"]) + 1 for row in rows):
        raise ValueError("a histogram needs one edge more than counts")
    return pd.DataFrame(rows, columns=WEIGHT_COLUMNS)
