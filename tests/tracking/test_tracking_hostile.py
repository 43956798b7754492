"""Servers that hang, drip, answer garbage or fail; processes that die."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tracking_runs import epoch_rows, is_exact, layer_rows, planned_run, runs_of, save

from repro.records import LOCK_NAME
from repro.tracking import LiveTracker, SyncResult, TrackingError, live, patience, sync_records
from tests.conftest import comes_true

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"


def hang(connection):
    connection.recv(65536)
    time.sleep(60)


def drip(connection):
    """A byte now and then: no time limit of a read ever ends."""
    connection.recv(65536)
    connection.sendall(HEAD)
    for _ in range(600):
        connection.sendall(b" ")
        time.sleep(0.1)


def garbage(connection):
    connection.recv(65536)
    connection.sendall(b"\x00\xff\x1b[31mno protocol\r\n\r\n")


def page(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hi</html>")


def error(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def address(request):
    """A server on loopback that treats every connection by the test's ``behave``."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        try:
            request.param(connection)
        except OSError:
            pass  # the client has gone
        finally:
            connection.close()

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()


@pytest.mark.parametrize("address", [hang, drip, garbage, page, error], indirect=True)
def test_track_ends(results, address, monkeypatch):
    monkeypatch.setattr(patience, "SILENCE_SECONDS", 3.0)
    save(results)
    start = time.monotonic()
    with pytest.raises(TrackingError, match="The records are safe") as caught:
        sync_records(results, address)
    assert time.monotonic() - start < 30
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("address", [drip], indirect=True)
def test_track_as_typed_ends(results, address):
    """The process ends too, though a thread of it still reads."""
    save(results)
    shortened = (
        "import sys; from repro.tracking import patience; patience.SILENCE_SECONDS = 2.0; "
        f"from repro.cli import main; sys.exit(main(['track', '--results', '{results}', '--uri', '{address}']))"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", shortened], capture_output=True, text=True, timeout=60)
    assert time.monotonic() - start < 40
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow at http://127.0.0.1:")
    assert "did not get on for 2 s" in done.stderr
    assert done.stderr.count("\n") == 1


def test_total_time_holds_though_it_gets_on(monkeypatch):
    monkeypatch.setattr(patience, "TOTAL_SECONDS", 1.0)

    def work(pulse):
        while True:
            time.sleep(0.01)
            pulse()

    with pytest.raises(TimeoutError, match="within 1 s"):
        patience.within_limits(work)


@pytest.mark.parametrize("address", [hang, drip, garbage, page, error], indirect=True)
def test_training_waits_no_longer_than_stated(address, monkeypatch):
    monkeypatch.setattr(live, "CLOSE_SECONDS", 1.0)
    monkeypatch.setattr(live, "_budget", live._Budget())
    tracker = LiveTracker(planned_run(), "main", address)
    start = time.monotonic()
    for epoch in range(1, 5):
        tracker.log_epochs(epoch_rows(epoch), layer_rows(epoch))
    assert time.monotonic() - start < 0.5
    tracker.close("completed")
    assert time.monotonic() - start < 5


TRAINER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from filelock import FileLock
from tracking_runs import epoch_rows, layer_rows, planned_run
from repro.records import LOCK_NAME
from repro.tracking import LiveTracker
directory = planned_run().directory()
directory.mkdir(parents=True)
with FileLock(directory / LOCK_NAME):
    tracker = LiveTracker(planned_run(), "main")
    tracker.log_epochs(epoch_rows(2), layer_rows(2))
    time.sleep(300)
"""


def test_killed_trainers_run_does_not_stay_running(results, client):
    save(results, seed=5)
    trainer = subprocess.Popen([sys.executable, "-c", TRAINER, str(Path(__file__).parent)])
    try:
        running = "attributes.status = 'RUNNING'"
        found = lambda: client.get_experiment_by_name("repro-quick") and client.search_runs(["1"], running)  # noqa: E731
        assert comes_true(lambda: bool(found()) and "train/loss" in found()[0].data.metrics, 60)
        assert sync_records(results).stopped == 0
        assert found(), "it trains"
    finally:
        os.kill(trainer.pid, signal.SIGKILL)
        trainer.wait()
    assert sync_records(results) == SyncResult(unchanged=1, stopped=1)
    assert sync_records(results) == SyncResult(unchanged=1)
    half = next(run for run in runs_of(client) if run.data.tags["seed"] == "0")
    assert (half.info.status, half.data.tags["status"]) == ("KILLED", "stopped")
    assert half.info.end_time == max(metric.timestamp for metric in half.data._metric_objs)
    resumed = LiveTracker(planned_run(), "main")
    resumed.log_epochs(epoch_rows(4), layer_rows(4))
    resumed.close("completed")
    run = next(run for run in runs_of(client) if run.data.tags["seed"] == "0")
    assert (run.info.run_id, run.info.status) == (half.info.run_id, "FINISHED")
    assert is_exact(client, run)


def test_runs_of_other_places_are_left_alone(results, client):
    save(results)
    sync_records(results)
    elsewhere = {"scale": "quick", "experiment": "main_cifar10", "seed": "7", "spec_hash": "0a1b2c3d", "place": "other"}
    run = client.create_run("1", tags=elsewhere)
    assert sync_records(results).stopped == 0
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
    assert not (results / "quick/main_cifar10/seed7-0a1b2c3d" / LOCK_NAME).exists()
