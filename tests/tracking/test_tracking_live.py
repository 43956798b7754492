import logging
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tracking_runs import epoch_rows, is_exact, layer_rows, planned_run, runs_of, save

from repro.tracking import LiveTracker, SyncResult, live, sync_records
from tests.conftest import comes_true


def train(tracker, first, last):
    """Report as the trainer does: all rows so far, after each epoch."""
    for epoch in range(first, last + 1):
        tracker.log_epochs(epoch_rows(epoch), layer_rows(epoch))


def stop(tracker):
    """What a trainer does that was asked to stop."""
    tracker.close("interrupted")


def own_warnings(caplog):
    return [record for record in caplog.records if record.name.startswith("repro")]


def runs_of_or_none(client):
    return client.get_experiment_by_name("repro-quick") and runs_of(client)


def test_live_then_sync_keeps_the_run(results, client, caplog):
    tracker = LiveTracker(planned_run(), "main", started_at="2026-01-01T10:00:00+00:00")
    train(tracker, 1, 4)
    tracker.close("completed")
    (live_run,) = runs_of(client)
    assert live_run.info.status == "FINISHED"
    assert live_run.data.tags["status"] == "completed"
    assert is_exact(client, live_run)
    save(results)
    assert sync_records(results) == SyncResult(updated=1)
    assert sync_records(results) == SyncResult(unchanged=1)
    (run,) = runs_of(client)
    assert run.info.run_id == live_run.info.run_id
    assert is_exact(client, run)
    assert run.info.end_time - run.info.start_time == 300_000
    assert "summary/final_test_accuracy" in run.data.metrics
    assert len(client.list_artifacts(run.info.run_id)) == 3
    save(results, seed=1)
    sync_records(results)
    synced = next(run for run in runs_of(client) if run.data.tags["seed"] == "1")
    assert run.data.tags.keys() - synced.data.tags.keys() <= {"place", "mlflow.source.git.commit"}
    assert synced.data.tags.keys() <= run.data.tags.keys() | {"mlflow.parentRunId"}
    assert synced.data.params == {**run.data.params, "seed": "1"}
    assert not own_warnings(caplog)


def test_stopped_and_resumed(results, client):
    tracker = LiveTracker(planned_run(), "main")
    train(tracker, 1, 2)
    stop(tracker)
    (half,) = runs_of(client)
    assert (half.info.status, half.data.tags["status"]) == ("KILLED", "interrupted")
    resumed = LiveTracker(planned_run(), "main")
    train(resumed, 3, 4)
    resumed.close("completed")
    (run,) = runs_of(client)
    assert run.info.run_id == half.info.run_id
    assert is_exact(client, run)
    save(results)
    sync_records(results)
    (run,) = runs_of(client)
    assert run.info.run_id == half.info.run_id
    assert is_exact(client, run)


def test_stopped_live_run_is_completed_by_the_sync(results, client):
    tracker = LiveTracker(planned_run(), "main")
    train(tracker, 1, 2)
    stop(tracker)
    save(results)
    assert sync_records(results) == SyncResult(updated=1)
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED"
    assert is_exact(client, run)


def test_epoch_trained_anew_is_replaced(results, client):
    """Logged, killed before its checkpoint, trained again in another time."""
    tracker = LiveTracker(planned_run(), "main")
    slow = [*epoch_rows(1), {**epoch_rows(2)[1], "wall_seconds": 99.0}]
    tracker.log_epochs(slow, layer_rows(2))
    stop(tracker)
    resumed = LiveTracker(planned_run(), "main")
    train(resumed, 2, 4)
    resumed.close("completed")
    save(results)
    assert sync_records(results) == SyncResult(updated=1)
    (run,) = runs_of(client)
    assert is_exact(client, run)


def test_training_again_replaces_the_finished_run(results, client):
    save(results)
    sync_records(results)
    tracker = LiveTracker(planned_run(), "main")
    train(tracker, 1, 1)
    tracker.close("completed")
    (run,) = runs_of(client)
    assert is_exact(client, run, epochs=1)


def test_late_flush_after_a_sync_adds_nothing(results, client):
    """Another process may sync the record between its writing and the tracker's last batch."""
    tracker = LiveTracker(planned_run(), "main")
    train(tracker, 1, 2)
    while not runs_of_or_none(client) or "train/loss" not in runs_of(client)[0].data.metrics:
        time.sleep(0.02)
    save(results)
    sync_records(results)
    train(tracker, 3, 4)
    tracker.close("completed")
    (run,) = runs_of(client)
    assert is_exact(client, run)
    assert sync_records(results) == SyncResult(unchanged=1)


def test_unreachable_server_costs_nothing(results, client, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        tracker = LiveTracker(planned_run(), "main", f"http://127.0.0.1:{taken.getsockname()[1]}")
        train(tracker, 1, 4)
        tracker.close("completed")
    tracker.log_epochs(epoch_rows(4), layer_rows(4))
    tracker.close("completed")
    (warning,) = own_warnings(caplog)
    assert warning.levelno == logging.WARNING
    assert "python -m repro track" in warning.message
    save(results)
    assert sync_records(results) == SyncResult(added=1)


def test_server_that_comes_back_is_used_again(results, client, caplog, monkeypatch):
    """One failure costs no more than the epochs until the next attempt, which brings them too."""
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.0)
    tracker = LiveTracker(planned_run(), "main")
    train(tracker, 1, 1)
    assert comes_true(lambda: runs_of_or_none(client) and "train/loss" in runs_of(client)[0].data.metrics)
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_batch", lambda *_, **__: 1 / 0)
        train(tracker, 2, 2)
        assert comes_true(lambda: own_warnings(caplog))
    train(tracker, 3, 4)
    tracker.close("completed")
    (run,) = runs_of(client)
    assert is_exact(client, run)
    assert run.info.status == "FINISHED"
    assert len(own_warnings(caplog)) == 1


def test_long_runs_show_their_machine(results, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    tracker = LiveTracker(planned_run(), "main", seconds=live.LONG_SECONDS)
    train(tracker, 1, 4)
    shown = "system/cpu_utilization_percentage"
    assert comes_true(lambda: runs_of_or_none(client) and shown in runs_of(client)[0].data.metrics)
    tracker.close("completed")
    (live_run,) = runs_of(client)
    save(results)
    assert sync_records(results) == SyncResult(updated=1)
    (run,) = runs_of(client)
    assert run.info.run_id == live_run.info.run_id, "what the machine did contradicts no record"
    assert is_exact(client, run)


def test_silent_server_delays_the_end_a_little(monkeypatch, caplog):
    """It takes the connection and never answers: epochs are handed over and the end comes while it is silent."""
    monkeypatch.setattr(live, "CLOSE_SECONDS", 0.3)
    monkeypatch.setattr(live, "_budget", live._Budget())
    with socket.create_server(("127.0.0.1", 0)) as server:
        trackers = [
            LiveTracker(planned_run(seed), "main", f"http://127.0.0.1:{server.getsockname()[1]}") for seed in range(5)
        ]
        start = time.monotonic()
        for tracker in trackers:
            train(tracker, 1, 2)
            tracker.close("completed")
        assert time.monotonic() - start < 1.0, "one limit for all runs of a process"
        assert "tracking" in {thread.name for thread in threading.enumerate()}, "still waiting for the server"
    assert len(own_warnings(caplog)) == 5


@pytest.mark.parametrize("package", ["mlflow", "filelock"])
def test_not_installed(monkeypatch, caplog, package):
    monkeypatch.setitem(sys.modules, package, None)
    tracker = LiveTracker(planned_run(), "main")
    train(tracker, 1, 2)
    tracker.close("completed")
    (warning,) = own_warnings(caplog)
    assert package in warning.message


def test_failure_half_way_goes_quiet(results, client, caplog, monkeypatch):
    tracker = LiveTracker(planned_run(), "main")
    train(tracker, 1, 1)
    monkeypatch.setattr("mlflow.MlflowClient.log_batch", lambda *_, **__: 1 / 0)
    train(tracker, 2, 4)
    tracker.close("completed")
    assert len(own_warnings(caplog)) == 1
    monkeypatch.undo()
    monkeypatch.chdir(results.parent)
    save(results)
    sync_records(results)
    (run,) = runs_of(client)
    assert is_exact(client, run)


WORKER = """
import sys
import threading
sys.path.insert(0, sys.argv[1])
from tracking_runs import epoch_rows, is_exact, layer_rows, planned_run, runs_of, save
from repro.tracking import LiveTracker, live, sync_records
live.CLOSE_SECONDS = 300.0  # imports of MLflow at once on a busy machine
seed = int(sys.argv[2])
tracker = LiveTracker(planned_run(seed), "main")
for epoch in range(1, 5):
    tracker.log_epochs(epoch_rows(epoch), layer_rows(epoch))
tracker.close("completed")
save("results", seed)
sync_records("results")
"""


@pytest.mark.parametrize("count", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_processes_on_an_empty_database(results, tmp_path, count):
    from mlflow import MlflowClient

    for seed in range(10, 16):  # cached records, which all find and add
        save(results, seed)
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent)]
    workers = [subprocess.Popen([*command, str(seed)], stderr=subprocess.PIPE, text=True) for seed in range(count)]
    complaints = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * count
    assert complaints == [""] * count  # quiet: neither warnings nor log lines of the migration
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert sorted(int(run.data.tags["seed"]) for run in runs_of(client)) == [*range(count), *range(10, 16)]
    assert all(is_exact(client, run) for run in runs_of(client))
    assert sync_records(results) == SyncResult(unchanged=count + 6)
