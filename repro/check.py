"""Whether a record from elsewhere can be taken: complete, finite, plausible, and of the run that it says it is."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema

from repro.config import Config, Plan, hash_spec
from repro.config.registry import DATASETS
from repro.config.runs import RECORD_NAME
from repro.config.schedules import rate_factors
from repro.config.spec import CORE_VERSION
from repro.records import (
    COMPLETED,
    EPOCH_COLUMNS,
    EPOCHS_NAME,
    EXPORT_NAME,
    LAYERS_NAME,
    Record,
    RecordError,
    read_export,
    read_record,
)
from repro.records.schemas import FOLDER
from repro.records.sharpness import read_sharpness

MAX_BYTES = 50_000_000  # the largest committed record has 0.2 MB
EXPECTED = Path(__file__).parent / "data/expected.json"  # its reader imports NumPy
# Rows hold 8 significant digits, times 3 decimals.
RELATIVE = 1e-6

Row = Mapping[str, Any]


def find_folders(folder: Path) -> list[Path]:
    """The folders of runs in a folder: itself, or those anywhere below it."""
    return sorted({path.parent for path in folder.rglob(RECORD_NAME)})


def check_run(folder: Path, config: Config) -> list[str]:
    """Everything that speaks against the record in a run's folder; nothing if it can be taken.

    Args:
        folder: With ``record.json`` and the CSV files.
        config: The configuration whose tables the record is to stand in.
    """
    try:
        return _problems(folder, config)
    except RecordError as error:
        return [str(error).replace(f"{folder}/", "")]
    except (ArithmeticError, RecursionError) as error:  # an integer of 400 digits, a list in a list in a list ...
        return [f"holds values that no run has ({error})"]


def _problems(folder: Path, config: Config) -> list[str]:
    problems = [*_absent_or_huge(folder)] or [*_against_schema(folder / RECORD_NAME, "record.schema.json")]
    if problems:
        return problems
    record = read_record(folder / RECORD_NAME)
    if (folder / EXPORT_NAME).exists():
        problems += _against_schema(folder / EXPORT_NAME, "export.schema.json")
    epochs, epoch_problems = read_table(folder / EPOCHS_NAME, "epochs.tableschema.json")
    layers, layer_problems = read_table(folder / LAYERS_NAME, "layers.tableschema.json")
    problems += epoch_problems + layer_problems
    if problems:  # what follows takes the shapes for granted
        return problems
    return [
        *_identity(record, folder, config),
        *_beside(record, folder),
        *_epochs(record, epochs),
        *_layers(record, layers, epochs),
        *_data(record),
        *_summary(record, epochs),
        *_times(record, epochs),
    ]


def _absent_or_huge(folder: Path) -> Iterator[str]:
    for name in (RECORD_NAME, EPOCHS_NAME, LAYERS_NAME, EXPORT_NAME):
        path = folder / name
        if not path.exists() and name == EXPORT_NAME:
            continue
        if not path.is_file():
            yield f"{name}: no regular file" if path.exists() else f"{name}: not there; copy the whole folder"
        elif path.stat().st_size > MAX_BYTES:
            yield f"{name}: {path.stat().st_size:,} bytes, more than any record has"


def _against_schema(path: Path, schema: str) -> Iterator[str]:
    """What a file has that its JSON Schema does not allow; the record's reader says it of a spec in fewer words."""

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no JSON")

    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except ValueError as error:
        yield f"{path.name}: {error}"
        return
    validator = jsonschema.Draft202012Validator(json.loads((FOLDER / schema).read_text(encoding="utf-8")))
    for problem in validator.iter_errors(content):
        deepest = jsonschema.exceptions.best_match([problem]) or problem
        if "spec" not in list(problem.absolute_path)[:1]:
            where = ".".join(map(str, deepest.absolute_path)) or "the file"
            yield f"{path.name}: {where}: {deepest.message[:200]}"


def read_table(path: Path, schema: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of a CSV with their types, empty cells as ``None``, and what its table schema does not allow."""
    fields = json.loads((FOLDER / schema).read_text(encoding="utf-8"))["fields"]
    names = [field["name"] for field in fields]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = [*csv.reader(file)]
            header, *lines = reader or [[]]
    except (ValueError, csv.Error) as error:
        return [], [f"{path.name}: not a readable table ({error})"]
    if header != names:
        return [], [f"{path.name}: columns {header} instead of {names}"]
    rows: list[dict[str, Any]] = []
    problems = []
    for number, line in enumerate(lines, 2):
        if len(line) != len(names):
            problems.append(f"{path.name}: line {number} has {len(line)} cells instead of {len(names)}")
            continue
        row = {}
        for field, text in zip(fields, line, strict=True):
            try:
                row[field["name"]] = _cell(field, text)
            except ValueError as error:
                problems.append(f"{path.name}: line {number}, {field['name']}: {error}")
        rows.append(row)
    return rows, problems


def _cell(field: Mapping[str, Any], text: str) -> Any:
    """A cell's value; a ValueError says what is wrong with it."""
    limits = field["constraints"]
    if text == "":
        if limits["required"]:
            raise ValueError("empty")
        return None
    if field["type"] == "string":
        return text
    value: float = int(text) if field["type"] == "integer" else float(text)
    if value < limits.get("minimum", -math.inf) or value > limits.get("maximum", math.inf):
        raise ValueError(f"{text} is outside {limits.get('minimum', '')}..{limits.get('maximum', '')}")
    return value


def _identity(record: Record, folder: Path, config: Config) -> Iterator[str]:
    if record.core_version != CORE_VERSION:
        yield f"core_version {record.core_version}: this suite's training core is {CORE_VERSION}; its numbers differ"
    elif hash_spec(record.spec) != record.spec_hash:
        yield f"spec_hash {record.spec_hash}: the spec's hash is {hash_spec(record.spec)}; one of them was edited"
    expected = f"seed{record.seed}-{record.spec_hash}"
    if folder.resolve().name != expected:
        yield f"its folder should be {record.scale}/NAME/{expected}"
    if record.scale not in config.scales:
        yield f"scale {record.scale}: config.yaml has none of that name"
    elif record.spec_hash not in Plan(config, record.scale).serves:
        yield f"no experiment of config.yaml resolves to {record.spec_hash} at scale {record.scale}: it is stale"


def _beside(record: Record, folder: Path) -> Iterator[str]:
    for read in (read_export, read_sharpness):
        try:
            read(folder, record.spec_hash, record.seed)
        except RecordError as error:
            yield str(error).replace(f"{folder}/", "")


def _epochs(record: Record, epochs: Sequence[Row]) -> Iterator[str]:
    numbers = [row["epoch"] for row in epochs]
    quantised_after = record.spec["ptq"]["name"] != "none"
    if len(epochs) != record.summary["epochs_run"]:
        yield f"{EPOCHS_NAME}: {len(epochs)} rows, summary.epochs_run says {record.summary['epochs_run']}"
    if quantised_after:
        if len(epochs) != 1:
            yield f"{EPOCHS_NAME}: {len(epochs)} rows; a quantisation after training has 1"
        return
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"{EPOCHS_NAME}: epochs are not 1, 2, 3, ... without a gap"
        return
    planned = record.spec["epochs"]
    if len(epochs) > planned or (record.status == COMPLETED and len(epochs) < planned):
        yield f"{EPOCHS_NAME}: {len(epochs)} epochs of the {planned} that the spec has"
    for row, factor in zip(epochs, rate_factors(record.spec), strict=False):
        rate = factor * record.spec["optimizer"]["learning_rate"]
        if row["learning_rate"] is None or not _close(row["learning_rate"], rate):
            yield f"{EPOCHS_NAME}: epoch {row['epoch']} has learning rate {row['learning_rate']}, its schedule {rate:g}"
            break
    if record.status == COMPLETED:
        for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            if any(row[name] is None or not math.isfinite(row[name]) for row in epochs):
                yield f"{EPOCHS_NAME}: {name} is not a finite number in every epoch, and the run is completed"


def _layers(record: Record, layers: Sequence[Row], epochs: Sequence[Row]) -> Iterator[str]:
    names = [layer["name"] for layer in record.layers]
    expected = {(row["epoch"], name) for row in epochs for name in names}
    found = [(row["epoch"], row["layer"]) for row in layers]
    if len(found) != len(set(found)) or set(found) != expected:
        yield f"{LAYERS_NAME}: not one row for each epoch and each of the layers {', '.join(names)}"
    bits = {**record.spec["quantizer"], **record.spec["ptq"]}.get("bit_width")
    if bits is not None and record.spec["ptq"]["name"] != "aciq":  # that one gives each channel bits of its own
        over = [row for row in layers if row["levels"] is not None and row["levels"] > 2**bits]
        if over:
            yield f"{LAYERS_NAME}: {over[0]['levels']} levels in layer {over[0]['layer']}, {bits} bits have {2**bits}"


def _data(record: Record) -> Iterator[str]:
    wanted, data = record.spec["dataset"], record.data
    known = DATASETS[wanted["name"]]
    train = wanted["train_images"] or known.train_images
    counts = {
        "classes": known.classes,
        "test_images": wanted["test_images"] or known.test_images,
        "train_images": train - data["validation_images"],
    }
    for key, count in counts.items():
        if data[key] != count:
            yield f"data.{key} is {data[key]}; {wanted['name']} as the spec takes it has {count}"
    if bool(data["validation_images"]) != (wanted["validation_fraction"] > 0):
        share = wanted["validation_fraction"]
        yield f"data.validation_images is {data['validation_images']}; the spec holds out a share of {share:g}"
    fingerprint = _fingerprint(wanted["name"])
    whole = wanted["train_images"] is None and wanted["test_images"] is None
    if whole and fingerprint not in (None, data["fingerprint"]):
        yield f"data.fingerprint: not that of {wanted['name']}; trained on other images?"


def _fingerprint(name: str) -> str | None:
    """Of the whole data set, where it is known."""
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return expected[name]["fingerprint"] if name in expected else None


def _summary(record: Record, epochs: Sequence[Row]) -> Iterator[str]:
    summary, images = record.summary, record.data["test_images"]
    last = epochs[-1] if epochs else dict.fromkeys(EPOCH_COLUMNS)
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        if not _same(summary[f"final_{name}"], last[name]):
            yield f"summary.final_{name} is {summary[f'final_{name}']}, the last row of {EPOCHS_NAME} has {last[name]}"
    accuracies = [row["test_accuracy"] for row in epochs if row["test_accuracy"] is not None]
    if accuracies and not _same(summary["best_test_accuracy"], max(accuracies)):
        yield f"summary.best_test_accuracy is {summary['best_test_accuracy']}, the best row has {max(accuracies)}"
    for accuracy in accuracies:
        right = accuracy * images
        if abs(right - round(right)) > max(RELATIVE * images, 1e-6):
            yield f"{EPOCHS_NAME}: test accuracy {accuracy} is no count of {images} test images"
            break


def _times(record: Record, epochs: Sequence[Row]) -> Iterator[str]:
    timing = record.timing
    try:
        started, ended = (datetime.fromisoformat(timing[key]) for key in ("started_at", "ended_at"))
        if ended < started:
            yield f"timing: ended at {timing['ended_at']}, before it started"
    except (TypeError, ValueError):
        yield f"timing: {timing['started_at']!r} or {timing['ended_at']!r} is no time with its zone (ISO 8601)"
    total = sum(row["wall_seconds"] for row in epochs)
    if not math.isclose(total, timing["wall_seconds"], rel_tol=0.01, abs_tol=0.1):
        yield f"timing.wall_seconds is {timing['wall_seconds']}, the rows of {EPOCHS_NAME} sum to {total:.1f}"


def _same(summarised: float | None, row: float | None) -> bool:
    """A number and its row's; a number that a diverged run lost is absent in the one and NaN in the other."""
    lost = row is None or not math.isfinite(row)
    return lost if summarised is None else (row is not None and _close(summarised, row))


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=1e-12)
