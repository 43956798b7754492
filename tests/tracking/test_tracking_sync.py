import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tracking_runs import SPEC, epoch_rows, history, is_exact, layer_rows, planned_run, runs_of, save

from repro.config.options import Option
from repro.config.registry import QUANTIZERS, Quantizer
from repro.records import EPOCHS_NAME
from repro.tracking import SyncResult, TrackingError, sync_records
from repro.tracking.content import read_mirror


def test_import_is_light():
    heavy = "'mlflow', 'torch', 'sqlalchemy', 'pandas'"
    code = f"import sys, repro.tracking; print([name for name in ({heavy}) if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_tells_everything(results, client):
    path = save(results, seed=3)
    assert sync_records(results) == SyncResult(added=1)
    (run,) = runs_of(client)
    assert is_exact(client, run)
    assert run.info.run_name == "main_cifar10 seed3"
    assert run.info.status == "FINISHED"
    assert (run.info.end_time - run.info.start_time, run.info.start_time) == (300_000, 1767261600_000)
    assert run.data.params["quantizer.name"] == "absmax"
    assert run.data.params["optimizer.learning_rate"] == "0.001"
    assert run.data.params["dataset.train_images"] == "null"
    wanted = {
        "experiment": "main_cifar10", "group": "main", "scale": "quick", "seed": "3", "spec_hash": "0a1b2c3d",
        "status": "completed", "data": "digits10", "run_key": planned_run(3).key,
    }  # fmt: skip
    assert wanted.items() <= run.data.tags.items()
    assert run.data.metrics["summary/final_test_accuracy"] == 2 / 3
    assert run.data.metrics["size/packed_bytes"] == 1234
    assert run.data.metrics["timing/wall_seconds"] == 290.5
    assert run.data.metrics["levels/conv1"] == 15
    assert "levels/fc" not in run.data.metrics  # no quantiser, no levels
    assert not {"validation/loss", "summary/validated_epoch", "optimizer/epoch"} & run.data.metrics.keys()
    artifacts = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert sorted(artifacts) == ["epochs.csv", "layers.csv", "record.json"]
    copy = Path(client.download_artifacts(run.info.run_id, "record.json"))
    assert copy.read_bytes() == path.read_bytes()
    assert list((results.parent / "mlartifacts").rglob("record.json"))


def test_second_sync_changes_nothing(results, client):
    for seed in range(3):
        save(results, seed)
    assert sync_records(results) == SyncResult(added=3)
    before = {run.info.run_id: run.to_dictionary() for run in runs_of(client)}
    assert sync_records(results) == SyncResult(unchanged=3)
    assert {run.info.run_id: run.to_dictionary() for run in runs_of(client)} == before
    assert all(is_exact(client, run) for run in runs_of(client))


def test_changed_record_replaces(results, client):
    save(results, 0)
    save(results, 1)
    sync_records(results)
    save(results, 0, epoch_rows(2), status="diverged", reason="loss is NaN at epoch 2")
    assert sync_records(results) == SyncResult(updated=1, unchanged=1)
    runs = {run.data.tags["seed"]: run for run in runs_of(client)}
    assert sorted(runs) == ["0", "1"]
    assert is_exact(client, runs["0"], epochs=2)
    assert runs["0"].info.status == "FINISHED"
    assert runs["0"].data.tags["status"] == "diverged"
    assert runs["0"].data.tags["reason"] == "loss is NaN at epoch 2"


def test_changed_csv_alone_is_noticed(results, client):
    path = save(results)
    sync_records(results)
    file = path.with_name(EPOCHS_NAME)
    file.write_text(file.read_text().rsplit("\n", 2)[0] + "\n")
    assert sync_records(results) == SyncResult(updated=1)
    (run,) = runs_of(client)
    assert len(history(client, run, "train/loss")) == 3


def test_interrupted_sync_is_completed_in_place(results, client, monkeypatch):
    save(results)
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_artifact", lambda *_: 1 / 0)
        with pytest.raises(TrackingError, match="division by zero"):
            sync_records(results)
    (half,) = runs_of(client)
    assert half.info.status == "RUNNING"
    assert sync_records(results) == SyncResult(updated=1)
    (run,) = runs_of(client)
    assert run.info.run_id == half.info.run_id
    assert is_exact(client, run)


def test_duplicates_are_mended(results, client):
    """Two machines that sync to one server at once have no common lock."""
    save(results)
    sync_records(results)
    (run,) = runs_of(client)
    client.create_run(run.info.experiment_id, tags={"run_key": run.data.tags["run_key"]})
    assert sync_records(results) == SyncResult(updated=1)
    assert [r.info.run_id for r in runs_of(client)] == [run.info.run_id]


def test_deleted_experiment_comes_back(results, client):
    save(results)
    sync_records(results)
    client.delete_experiment(runs_of(client)[0].info.experiment_id)
    sync_records(results)
    assert len(runs_of(client)) == 1


def test_values_at_the_limits(results, client, monkeypatch):
    options = {**{f"option{i}": Option(int) for i in range(250)}, "long": Option(str)}
    monkeypatch.setitem(QUANTIZERS, "wide", Quantizer("nobody:builds_it", **options))
    rows = epoch_rows(2)
    rows[0]["train_loss"], rows[1]["train_loss"] = float("inf"), float("nan")
    many = [{**row, "layer": f"{row['layer']}.{i}"} for row in layer_rows(2) for i in range(400)]
    wide = {"name": "wide", **{f"option{i}": i for i in range(250)}, "long": "x" * 9000}
    spec = {**SPEC, "quantizer": wide}
    save(results, 0, rows, many, spec=spec, status="diverged", reason="y" * 9000)
    assert sync_records(results) == SyncResult(added=1)
    assert sync_records(results) == SyncResult(unchanged=1)
    (run,) = runs_of(client)
    assert sum(name.startswith("quantizer.") for name in run.data.params) == 252
    assert len(history(client, run, "levels/conv1.399")) == 2
    first, second = (value for _, value in history(client, run, "train/loss"))
    assert first > 1e308
    assert second != second


def test_scales_are_apart(results, client):
    save(results)
    save(results, scale="short")
    assert sync_records(results).added == 2
    assert len(runs_of(client, "repro-quick")) == len(runs_of(client, "repro-short")) == 1


def test_unreadable_records_are_skipped_with_reasons(results, client):
    save(results, 0)
    save(results, 1).write_text("{")
    save(results, 2).with_name(EPOCHS_NAME).unlink()
    save(results, 3, timing={"started_at": "2026-01-01T10:00:00+00:00"})
    damaged = save(results, 4).with_name(EPOCHS_NAME)
    damaged.write_text(damaged.read_text().replace("1.0", "one"))
    save(results, 5, [], [{**row, "layer": "not a name?"} for row in layer_rows(1)])
    same = save(results, 6, spec_hash="deadbeef")
    twin = same.parents[2] / "older_name" / same.parent.name
    twin.parent.mkdir()
    same.parent.rename(twin)
    save(results, 6, spec_hash="deadbeef")
    for expected in (SyncResult(added=2), SyncResult(unchanged=2)):
        done = sync_records(results)
        assert (done.added, done.updated, done.unchanged) == (expected.added, expected.updated, expected.unchanged)
        reasons = "\n".join(done.skipped)
        assert len(done.skipped) == 6
        for part in (
            "seed1",
            "epochs.csv missing",
            "KeyError: 'ended_at'",
            "seed4",
            "MLflow refuses",
            "the same run as",
        ):
            assert part in reasons


def count_waits(monkeypatch):
    """Seconds that code asks to sleep from now on, and does not: a busy machine changes no sum."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def test_empty_results_need_no_store(results):
    assert sync_records(results, "http://127.0.0.1:9") == SyncResult()


def test_unreachable_server(results, client, monkeypatch):
    save(results)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}")
        waits = count_waits(monkeypatch)
        with pytest.raises(TrackingError, match="does not answer") as caught:
            sync_records(results)
    assert sum(waits) < 5, "no retries at MLflow's own pace"
    assert "secret" not in str(caught.value)
    assert sync_records(results, "sqlite:///mlflow.db") == SyncResult(added=1)


@pytest.mark.parametrize("uri", ["sqlite:///damaged.db", "sqlite:///damaged.db/under/a/file.db", "file:///tmp/store"])
def test_unusable_store_is_an_error_at_once(results, uri, monkeypatch):
    save(results)
    Path("damaged.db").write_text("no database " * 100)
    waits = count_waits(monkeypatch)
    with pytest.raises(TrackingError, match="The records are safe"):
        sync_records(results, uri)
    assert sum(waits) < 5, "no retries at MLflow's own pace"


@pytest.mark.parametrize("package", ["mlflow", "filelock"])
def test_not_installed(results, monkeypatch, package):
    save(results)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TrackingError, match=f"{package} is not installed.*pip install"):
        sync_records(results)


def test_no_phone_home(results, client):
    from mlflow.telemetry import get_telemetry_client
    from mlflow.telemetry.utils import is_telemetry_disabled

    save(results)
    sync_records(results)
    assert is_telemetry_disabled()
    assert get_telemetry_client() is None


def test_digest_covers_every_file(results):
    path = save(results)
    digests = {read_mirror(path).digest}
    for name in ("record.json", "epochs.csv", "layers.csv"):
        file = path.with_name(name)
        file.write_text(json.dumps(json.loads(file.read_text())) if name == "record.json" else file.read_text() + "\n")
        digests.add(read_mirror(path).digest)
    assert len(digests) == 4
