"""Records: whole or absent, read back as written, damaged ones named."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from repro.config import Run
from repro.records import (
    RecordError,
    StorageError,
    atomic_write,
    find_records,
    read_csv_rows,
    read_record,
    write_record,
)
from repro.records.environment import describe_environment
from repro.train import Settings, train_run


@pytest.fixture
def finished(tmp_path: Path, tiny_run: object) -> tuple[Path, Run]:
    run = tiny_run(epochs=1)
    train_run(run, Settings(results=tmp_path))
    return tmp_path, run


def test_read_back_as_written(finished: tuple[Path, Run]) -> None:
    results, run = finished
    path = run.record_path(results)
    record = read_record(path)
    rows = read_csv_rows(path.parent / "epochs.csv")
    layers = read_csv_rows(path.parent / "layers.csv")
    again = write_record(results / "smoke" / "copy" / path.parent.name, record, rows, layers)
    assert read_record(again) == record
    assert (again.parent / "epochs.csv").read_bytes() == (path.parent / "epochs.csv").read_bytes()
    assert record.key == run.key
    assert find_records(results) == sorted([again, path])


def test_a_record_holds_no_path_and_no_host_name(finished: tuple[Path, Run]) -> None:
    results, run = finished
    text = run.record_path(results).read_text()
    for private in (str(results), str(Path.cwd()), os.uname().nodename):
        assert private not in text


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text[: len(text) // 2], "not a readable record"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 99'), "schema version 99"),
        (lambda text: text.replace('"spec_hash"', '"spec_hsh"'), "missing fields"),
        (lambda text: "[]", "no mapping"),
        (lambda text: text.replace('"batch_size"', '"batchsize"'), "spec.batch_size: missing"),
        (lambda text: text.replace('"absmax"', '"unheard_of"'), "unknown method 'unheard_of'"),
    ],
)
def test_damaged_records_are_named(finished: tuple[Path, Run], damage: object, expected: str) -> None:
    results, run = finished
    path = run.record_path(results)
    path.write_text(damage(path.read_text()))
    with pytest.raises(RecordError, match=expected) as error:
        read_record(path)
    assert str(path) in str(error.value)


def test_unwritable_folder_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(StorageError, match="cannot write"):
        atomic_write(blocker / "record.json", "{}")
    assert list(tmp_path.iterdir()) == [blocker]


def test_killed_writer_leaves_no_half_record(tmp_path: Path) -> None:
    """SIGKILL at many moments of many writes: the file is always whole, old or new."""
    path = tmp_path / "record.json"
    script = (
        "import json, sys\n"
        "from repro.records import atomic_write\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    atomic_write(sys.argv[1], json.dumps({'n': n, 'rows': [n] * 50_000}))\n"
    )
    for delay in (0.02, 0.05, 0.11, 0.17):
        writer = subprocess.Popen([sys.executable, "-c", script, str(path)])
        while not path.exists():
            time.sleep(0.005)
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = json.loads(path.read_text())
        assert content["rows"] == [content["n"]] * 50_000


def test_environment_says_versions_and_commit() -> None:
    facts = describe_environment()
    assert facts["cores"] >= 1
    assert facts["python"].count(".") == 2
    assert facts["git_commit"] is None or len(facts["git_commit"]) == 40


def test_status_follows_the_folder(finished: tuple[Path, Run], config: object) -> None:
    from repro.config import Plan
    from repro.status import scale_status

    results, _ = finished
    plan = Plan(config, "smoke")
    run = plan.run("fp32_cifar10", 0)
    states = lambda: {s.run.experiment: s for s in scale_status(plan, results)}  # noqa: E731
    assert states()["fp32_cifar10"].state == "not started"

    record = train_run(run, Settings(results=results))
    entry = states()["fp32_cifar10"]
    assert entry.state in ("finished", "diverged")
    assert entry.epoch == run.spec["epochs"]
    assert entry.accuracy == record.summary["final_test_accuracy"]

    write_record(
        run.directory(results),
        replace(record, status="diverged"),
        read_csv_rows(run.directory(results) / "epochs.csv"),
        [],
    )
    assert states()["fp32_cifar10"].state == "diverged"
    run.record_path(results).unlink()
    assert states()["fp32_cifar10"].state == "interrupted"
    run.record_path(results).write_text("{")
    assert states()["fp32_cifar10"].state == "unreadable"
    assert "schedule_as_run_cifar10" in states()["main_cifar10"].serves


def test_status_sees_a_running_trainer(tmp_path: Path, config: object) -> None:
    from repro.config import Plan
    from repro.status import scale_status

    plan = Plan(config, "smoke")
    run = plan.run("main_cifar10", 0)
    seen = []

    def look() -> bool:
        seen.append({s.run.experiment: s.state for s in scale_status(plan, tmp_path)}["main_cifar10"])
        return False

    train_run(run, Settings(results=tmp_path, stop=look))
    assert set(seen) == {"running"}
