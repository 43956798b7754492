"""A real MLflow server on loopback that is killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from tracking_runs import epoch_rows, is_exact, layer_rows, planned_run, runs_of, save

from repro.tracking import LiveTracker, SyncResult, TrackingError, live, sync_records
from tests.conftest import comes_true


class Server:
    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}"

    def start(self):
        typed = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        typed += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        typed += ["--artifacts-destination", str(self.folder / "artifacts")]
        self.process = subprocess.Popen(typed, start_new_session=True, stderr=subprocess.DEVNULL, cwd=self.folder)
        assert comes_true(self.answers, 180)

    def answers(self):
        try:
            return urllib.request.urlopen(f"{self.address}/health", timeout=2).status == 200
        except OSError:
            return False

    def signal(self, number):
        os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    server.start()
    yield server
    server.signal(signal.SIGKILL)


@pytest.mark.slow
def test_server_that_is_killed_hangs_and_restarts(server, results, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setattr(live, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(live, "CLOSE_SECONDS", 120.0)
    client = MlflowClient(tracking_uri=server.address)
    tracker = LiveTracker(planned_run(), "main", server.address)
    tracker.log_epochs(epoch_rows(1), layer_rows(1))
    shown = lambda: client.get_experiment_by_name("repro-quick") and runs_of(client)  # noqa: E731
    assert comes_true(lambda: shown() and "train/loss" in shown()[0].data.metrics, 60)
    server.signal(signal.SIGKILL)
    tracker.log_epochs(epoch_rows(2), layer_rows(2))
    save(results, 1)
    with pytest.raises(TrackingError, match="does not answer"):
        sync_records(results, server.address)
    server.start()
    tracker.log_epochs(epoch_rows(4), layer_rows(4))
    tracker.close("completed")
    save(results, 0)
    for seed in range(2, 8):
        save(results, seed)

    typed = [sys.executable, "-m", "repro", "track", "--results", str(results), "--uri", server.address]
    writers = [subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    time.sleep(6)
    server.signal(signal.SIGSTOP)  # it hangs for a moment, while they write
    time.sleep(2)
    server.signal(signal.SIGCONT)
    said = [writer.communicate(timeout=300) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 3, said
    assert sync_records(results, server.address) == SyncResult(unchanged=8)
    assert sorted(run.data.tags["seed"] for run in runs_of(client)) == list("01234567")
    assert all(is_exact(client, run) for run in runs_of(client))
