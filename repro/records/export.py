"""``export.json``: what a run's real files weigh, how right and how fast they are; beside its record."""

import dataclasses
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.records.files import atomic_write
from repro.records.record import MOST_BYTES, RecordError, parse_json, read_limited
from repro.text import printable, shown

EXPORT_NAME = "export.json"
EXPORT_VERSION = 1
BATCHES = (1, 128)
# What is timed: PyTorch with FP32 weights; onnxruntime in FP32 with the same weights stored as FP32, INT8 and INT4;
# onnxruntime in integers.
VARIANTS = ("torch_fp32", "onnx_fp32", "onnx_int8", "onnx_int4", "onnx_integer")
EXPORT_NUMBERS = (
    "file_bytes", "file_payload_bytes", "file_metadata_bytes", "file_test_accuracy", "file_fp32_test_accuracy",
    "file_logit_difference", "onnx_bytes", "onnx_test_accuracy", "onnx_logit_difference",
    "integer_bytes", "integer_test_accuracy", "integer_logit_difference",
    *(f"{variant}_seconds_{batch}" for variant in VARIANTS for batch in BATCHES),
)  # fmt: skip


@dataclass(frozen=True)
class Export:
    """What was measured of a run's files; ``results/README.md`` has every field.

    Attributes:
        spec_hash: Identity of the run, as in its record.
        seed: Its seed.
        packed: Sizes and accuracy of the safetensors file, read back.
        onnx: Sizes, accuracy and weight types of the ONNX file; ``None`` where it was not asked for.
        latency: Threads, and seconds a call of each variant by batch, one a round; ``None`` without ONNX.
        environment: Versions and machine on which this was measured.
        schema_version: Version of this shape.
        integer: Of the ONNX file that computes in integers, as ``onnx``, with the operators that ran; ``None`` where it
            was not asked for or cannot be, and in files from before there was one.
    """

    spec_hash: str
    seed: int
    packed: Mapping[str, Any]
    onnx: Mapping[str, Any] | None
    latency: Mapping[str, Any] | None
    environment: Mapping[str, Any]
    schema_version: int = EXPORT_VERSION
    integer: Mapping[str, Any] | None = None


def write_export(directory: Path, export: Export) -> Path:
    """Write ``export.json`` into a run's folder.

    Raises:
        StorageError: If the disk is full or the folder cannot be written.
    """
    path = directory / EXPORT_NAME
    atomic_write(path, json.dumps(dataclasses.asdict(export), indent=1, allow_nan=False) + "\n")
    return path


def read_export(directory: Path, spec_hash: str, seed: int) -> Export | None:
    """The export of the run in ``directory``; ``None`` where nothing was exported.

    Args:
        directory: The run's folder.
        spec_hash: Identity of the record beside it.
        seed: Its seed.

    Raises:
        RecordError: If the file is damaged, of another version or of another run.
    """
    path = directory / EXPORT_NAME
    if not path.exists():
        return None
    try:
        export = Export(**parse_json(read_limited(path, MOST_BYTES), path, "a readable export"))
        export_numbers(export)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise RecordError(
            f"{path}: not a readable export ({printable(error)}); delete it, or export the run again"
        ) from None
    if export.schema_version != EXPORT_VERSION:
        raise RecordError(f"{path}: schema version {shown(export.schema_version)}, this suite reads {EXPORT_VERSION}")
    if (export.spec_hash, export.seed) != (spec_hash, seed):
        raise RecordError(
            f"{path}: of run {shown(export.spec_hash)}, seed {shown(export.seed)}, not of the record beside it"
        )
    return export


def export_numbers(export: Export | None) -> dict[str, float]:
    """An export as one row: ``EXPORT_NUMBERS``, what was not measured as NaN. Seconds are medians over rounds."""
    row = dict.fromkeys(EXPORT_NUMBERS, float("nan"))
    if export is None:
        return row
    parts = {"file": export.packed, "onnx": export.onnx or {}, "integer": export.integer or {}}
    for prefix, part in parts.items():
        names = ("bytes", "payload_bytes", "metadata_bytes", "test_accuracy", "fp32_test_accuracy", "logit_difference")
        row |= {f"{prefix}_{name}": float(part[name]) for name in names if name in part}
    if export.latency is not None:
        row |= {
            f"{variant}_seconds_{batch}": statistics.median(map(float, rounds))
            for variant, batches in export.latency["seconds"].items()
            for batch, rounds in batches.items()
        }
    return {name: row[name] for name in EXPORT_NUMBERS}
