"""The SQLite file: half-made ones, foreign ones, kills."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tracking_runs import is_exact, runs_of, save

from repro.tracking import SyncResult, TrackingError, database, sync_records
from repro.tracking.database import State, inspect
from tests.conftest import comes_true


def client_of(path):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{path}")


def put(half, path):
    """A half-made database at its place, as old as if the kill was a while ago."""
    for suffix in ("", "-journal"):
        if Path(f"{half}{suffix}").exists():
            shutil.copy(f"{half}{suffix}", f"{path}{suffix}")
            os.utime(f"{path}{suffix}", (0, time.time() - 60))


def test_half_made_is_recognised_after_every_statement(migration, tmp_path):
    whole, halves = migration
    assert len(halves) > 50
    for half in halves:
        put(half, tmp_path / "copy.db")
        assert inspect(tmp_path / "copy.db") is State.HALF_MADE, half
    assert inspect(whole) is State.WHOLE
    (tmp_path / "empty.db").touch()
    assert inspect(tmp_path / "empty.db") is inspect(tmp_path / "none.db") is State.ABSENT


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_half_made_is_replaced(migration, quick_migration, results, tmp_path, share):
    halves = migration[1]
    put(halves[int(share * (len(halves) - 1))], tmp_path / "mlflow.db")
    save(results)
    assert sync_records(results) == SyncResult(added=1)
    assert sync_records(results) == SyncResult(unchanged=1)
    (run,) = runs_of(client_of(tmp_path / "mlflow.db"))
    assert is_exact(client_of(tmp_path / "mlflow.db"), run)
    left = {path.name for path in tmp_path.glob("*mlflow.db*")}
    assert left == {"mlflow.db", "mlflow.db.lock"}


def test_one_that_another_program_is_making_is_waited_for(migration, quick_migration, results, tmp_path, monkeypatch):
    """`mlflow ui` takes no lock of ours; its file, finished meanwhile, is taken and ours thrown away."""
    whole, halves = migration
    path = tmp_path / "mlflow.db"
    shutil.copy(halves[-1], path)

    def finish(seconds):
        path.unlink()
        shutil.copy(whole, path)
        with sqlite3.connect(path) as other:
            other.execute("UPDATE experiments SET name = 'theirs'")

    monkeypatch.setattr(time, "sleep", finish)
    save(results)
    sync_records(results)
    assert client_of(path).get_experiment_by_name("theirs")


def foreign(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE runs (anything)")
        other.execute("CREATE TABLE bookmarks (address)")


def foreign_and_empty(path):
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 7")


def older_with_experiments(path):
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE trace_info")


@pytest.mark.parametrize(
    ("make", "says"),
    [(foreign, "something else"), (foreign_and_empty, "something else"), (older_with_experiments, "mlflow db upgrade")],
)
def test_foreign_is_never_touched(results, tmp_path, migrated, make, says):
    path = tmp_path / "mlflow.db"
    if make is older_with_experiments:
        shutil.copy(migrated, path)
    make(path)
    before = path.read_bytes()
    save(results)
    with pytest.raises(TrackingError, match=says):
        sync_records(results)
    assert path.read_bytes() == before
    typed = [sys.executable, "-m", "repro", "track", "--results", str(results)]
    done = subprocess.run(typed, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before


def test_other_experiments_stay(results, client):
    number = client.create_experiment("mine")
    run = client.create_run(number)
    save(results)
    sync_records(results)
    assert [r.info.run_id for r in client.search_runs([number])] == [run.info.run_id]


@pytest.mark.parametrize("delay", [0.0, 0.4, 1.5])
def test_kill_in_the_migration(results, tmp_path, delay, quick_migration):
    save(results)
    typed = [sys.executable, "-m", "repro", "track", "--results", str(results)]
    killed = subprocess.Popen(typed, start_new_session=True)
    assert comes_true((tmp_path / ".mlflow.db.new").exists, 60)
    time.sleep(delay)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    if inspect(tmp_path / "mlflow.db") is State.ABSENT:
        assert sync_records(results) == SyncResult(added=1)
    else:  # the machine was faster than the kill
        assert inspect(tmp_path / "mlflow.db") is State.WHOLE
        sync_records(results)
    (run,) = runs_of(client_of(tmp_path / "mlflow.db"))
    assert is_exact(client_of(tmp_path / "mlflow.db"), run)


def test_journal_without_its_database_is_not_played(migrated, tmp_path, quick_migration, results):
    (tmp_path / "mlflow.db-journal").write_bytes(b"left by a kill")
    save(results)
    assert sync_records(results) == SyncResult(added=1)
    assert database.inspect(tmp_path / "mlflow.db") is State.WHOLE
