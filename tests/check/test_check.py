"""What `python -m repro check` takes and what it refuses, and the schemas that it goes by."""

import copy
import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.check import check_run, find_folders
from repro.records import EPOCH_COLUMNS, LAYER_COLUMNS, Export, Record
from repro.records.schemas import FOLDER, as_text, schemas
from repro.records.shapes import EpochRow, ExportFile, LayerRow, RecordFile
from tests.conftest import PROJECT

MAIN = next((PROJECT / "results/short/main_cifar10").glob("seed*"))
RAW = json.loads((MAIN / "record.json").read_text())


@pytest.fixture
def folder(tmp_path):
    """A good record's folder, to be spoiled."""
    return Path(shutil.copytree(MAIN, tmp_path / "elsewhere" / MAIN.name))


def spoil(folder, **changes):
    """Change values of the record; ``summary__epochs_run`` is a path."""
    path = folder / "record.json"
    record = json.loads(path.read_text())
    for key, value in changes.items():
        *sections, name = key.split("__")
        part = record
        for section in sections:
            part = part[section]
        part[name] = value
    path.write_text(json.dumps(record))


def spoil_table(name, row, column, value):
    def change(folder):
        with (folder / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        rows[row][column] = value
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    return change


def drop_last_line(name):
    def change(folder):
        path = folder / name
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))

    return change


def changed(**changes):
    return lambda folder: spoil(folder, **changes)


def other_spec(folder):
    spoil(folder, spec__batch_size=256)


SPOILT = {
    "no record's layers": (lambda f: (f / "layers.csv").unlink(), "layers.csv: not there"),
    "cut off": (drop_last_line("epochs.csv"), "8 rows, summary.epochs_run says 9"),
    "layers cut off": (drop_last_line("layers.csv"), "not one row for each epoch"),
    "edited spec": (other_spec, "one of them was edited"),
    "no spec": (changed(spec__quantizer={"name": "abmax"}), "did you mean 'absmax'"),
    "other seed": (changed(seed=1), "its folder should be short/NAME/seed1-"),
    "other scale": (changed(scale="quick"), "no experiment of config.yaml resolves"),
    "unknown scale": (changed(scale="huge"), "config.yaml has none of that name"),
    "older core": (changed(core_version=2), "its numbers differ"),
    "unknown status": (changed(status="fine"), "status: 'fine' is not one of"),
    "no number": (changed(summary__final_test_accuracy="high"), "summary.final_test_accuracy"),
    "missing key": (lambda f: changed(summary={"epochs_run": 9})(f), "'parameters' is a required property"),
    "flattering": (changed(summary__final_test_accuracy=0.9234), "the last row of epochs.csv has 0.8151"),
    "flattering best": (changed(summary__best_test_accuracy=0.9234), "the best row has 0.8547"),
    "not a number": (spoil_table("epochs.csv", 3, "test_loss", "nan"), "test_loss is not a finite number"),
    "infinite": (spoil_table("epochs.csv", 3, "train_loss", "inf"), "train_loss is not a finite number"),
    "above one": (spoil_table("epochs.csv", 3, "test_accuracy", "1.2"), "line 5, test_accuracy: 1.2 is outside 0..1"),
    "no word": (spoil_table("epochs.csv", 0, "train_loss", "low"), "line 2, train_loss"),
    "no such count": (spoil_table("epochs.csv", 3, "test_accuracy", "0.81234567"), "no count of 10000 test images"),
    "gap": (spoil_table("epochs.csv", 3, "epoch", "7"), "without a gap"),
    "other schedule": (spoil_table("epochs.csv", 3, "learning_rate", "0.001"), "its schedule"),
    "too many levels": (spoil_table("layers.csv", 3, "levels", "17"), "4 bits have 16"),
    "other images": (changed(data__fingerprint="0" * 64), "trained on other images"),
    "fewer images": (changed(data__test_images=1000), "data.test_images is 1000"),
    "held out": (changed(data__validation_images=5000), "data.validation_images is 5000"),
    "backwards": (changed(timing__ended_at="2020-01-01T00:00:00+00:00"), "before it started"),
    "no time": (changed(timing__started_at="yesterday"), "timing.started_at"),
    "other time": (changed(timing__wall_seconds=1.0), "the rows of epochs.csv sum to"),
    "export of another": (
        lambda f: (f / "export.json").write_text((f / "export.json").read_text().replace(RAW["spec_hash"], "0a1b2c3d")),
        "not of the record beside it",
    ),
    "no JSON": (lambda f: (f / "record.json").write_text('{"seed": NaN}'), "NaN is no JSON"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_refused_with_its_reason(folder, config, name):
    change, reason = SPOILT[name]
    assert check_run(folder, config) == []
    change(folder)
    assert reason in "\n".join(check_run(folder, config))


def test_every_committed_record_is_accepted(config):
    folders = find_folders(PROJECT / "results")
    assert len(folders) >= 19
    assert {path: problems for path in folders if (problems := check_run(path, config))} == {}


def leaves(value, path=()):
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in leaves(part, (*path, key))] + [path]
    if isinstance(value, list):
        return [leaf for index, part in enumerate(value[:2]) for leaf in leaves(part, (*path, index))] + [path]
    return [path]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just(10**400),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=5,
)


@given(path=st.sampled_from([path for path in leaves(RAW) if path]), value=JSON)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_is_a_line_or_taken(tmp_path, config, path, value):
    folder = tmp_path / MAIN.name
    if not folder.exists():
        shutil.copytree(MAIN, folder)
    record = copy.deepcopy(RAW)
    part = record
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (folder / "record.json").write_text(json.dumps(record))
    assert all(isinstance(problem, str) for problem in check_run(folder, config))


def typed(*arguments):
    command = [sys.executable, "-m", "repro", "check", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)


def test_as_typed(folder, tmp_path):
    done = typed(folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"accepted: {folder}\n", "")
    spoil(folder, experiment="\x1b[31mred")
    done = typed(tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"refused: {folder}\n  record.json: experiment: ")
    assert "\x1b" not in done.stdout
    done = typed(tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path}/nowhere: there is no such folder\n"
    (tmp_path / "empty").mkdir()
    done = typed(tmp_path / "empty")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == f"error: {tmp_path}/empty: no record.json in it; name a run's folder, or one with runs below it\n"
    )


def test_committed_schemas_are_current():
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == {
        name: as_text(schema) for name, schema in schemas().items()
    }, "run: python -m repro.records.schemas"
    for name in ("record.schema.json", "export.schema.json"):
        jsonschema.Draft202012Validator.check_schema(schemas()[name])


def test_shapes_are_those_of_the_code():
    for shape, kept in ((RecordFile, Record), (ExportFile, Export)):
        assert set(shape.__annotations__) == {field.name for field in dataclasses.fields(kept)}
    assert tuple(EpochRow.__annotations__) == EPOCH_COLUMNS
    assert tuple(LayerRow.__annotations__) == LAYER_COLUMNS
