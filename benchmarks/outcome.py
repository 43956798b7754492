"""Whether two folders in which the same workflow ran hold the same: records, figures, weights, MLflow runs, files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.records import EPOCHS_NAME, LAYERS_NAME, read_csv_rows
from repro.records.check import check_record
from repro.text import printable
from repro.train.files import tensors_digest
from repro.train.kept import load_weights

CLOCKS = ("wall_seconds", "images_per_second")
OF_THE_MACHINE = ("time/", "timing/", "system/", "environment.peak_memory_bytes")  # of what MLflow has
OF_THE_DAY = ("timing", "environment")  # of a record: when and where, not what
# Locks are empty files that stay; `.live` and sockets are of processes; the rest is Snakemake's own.
COMPARED = ("results", "report")
# A folder's time, by Snakemake; a kill just after a job leaves the folder without it, and its own time counts instead.
UNCOMPARED = (".lock", ".snakemake_timestamp")
NEVER = (".snakemake/locks/*", ".snakemake/repro-*")


def differences(whole: Path, other: Path) -> list[str]:
    """What differs, a line each; clocks aside."""
    found = []
    for path in sorted(whole.glob("results/*/*/*/record.json")):
        name = path.relative_to(whole)
        if not (other / name).exists():
            found.append(f"{name} is missing")
            continue
        found += [f"{name}: {part} differ" for part in _parts_that_differ(path.parent, (other / name).parent)]
    return found + _mlflow_differences(whole, other)


def leftovers(whole: Path, other: Path) -> list[str]:
    """Files that an undisturbed workflow does not leave."""
    expected, found = _files(whole), _files(other)
    never = [path.relative_to(other).as_posix() for pattern in NEVER for path in other.glob(pattern)]
    lines = [f"{name} is left over" for name in sorted({*found - expected, *never})]
    return lines + [f"{name} is missing" for name in sorted(expected - found)]


def _files(folder: Path) -> set[str]:
    paths = (path for top in COMPARED for path in (folder / top).rglob("*"))
    return {path.relative_to(folder).as_posix() for path in paths if path.is_file() and path.name not in UNCOMPARED}


def _parts_that_differ(one: Path, two: Path) -> list[str]:
    first, second = (_record(folder) for folder in (one, two))
    found = [name for name in first if first[name] != second.get(name)]
    for name in (EPOCHS_NAME, LAYERS_NAME):
        if _rows(one / name) != _rows(two / name):
            found.append(name)
    for path in sorted(one.glob("weights*.pt")):
        if not (two / path.name).exists() or _digest(path) != _digest(two / path.name):
            found.append(path.name)
    return found


def _record(folder: Path) -> Mapping[str, Any]:
    raw = json.loads((folder / "record.json").read_text())
    check_record(raw)
    return {name: value for name, value in raw.items() if name not in OF_THE_DAY}


def _rows(path: Path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key not in CLOCKS} for row in read_csv_rows(path)]


def _digest(path: Path) -> str:
    return tensors_digest(load_weights(path))


def _mlflow_differences(whole: Path, other: Path) -> list[str]:
    try:
        first, second = _mlflow_runs(whole), _mlflow_runs(other)
    except Exception as error:  # SQLAlchemy's, MLflow's and Alembic's share no narrower base
        return [f"MLflow's database cannot be read ({printable(error, 120)})"]
    found = [f"MLflow has {len(runs)} runs of {key}" for key, runs in sorted(second.items()) if len(runs) != 1]
    found += [f"MLflow lacks {key}" for key in sorted(first.keys() - second.keys())]
    found += [f"MLflow has {key}, too" for key in sorted(second.keys() - first.keys())]
    return found + [f"MLflow has other figures of {key}" for key in first.keys() & second.keys()
                    if first[key] != second[key]]  # fmt: skip


def _mlflow_runs(folder: Path) -> dict[str, list[Any]]:
    """Status, parameters, tags and figures of every run, by identity."""
    from mlflow import MlflowClient

    from repro.tracking.content import DIGEST_TAG, KEY_TAG

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found: dict[str, list[Any]] = {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], max_results=10_000):
            tags = {n: v for n, v in run.data.tags.items() if n != DIGEST_TAG and not n.startswith("mlflow.")}
            told = [
                {name: str(value) for name, value in all_of.items() if not name.startswith(OF_THE_MACHINE)}
                for all_of in (run.data.params, tags, run.data.metrics)
            ]
            found.setdefault(tags.get(KEY_TAG, ""), []).append([run.info.status, *told])
    return found
