"""What MLflow's users expect of a run."""

import json
from pathlib import Path

import pytest
from tracking_runs import epoch_rows, history, parents_of, runs_of, save

from repro.config import Plan
from repro.records import EPOCH_COLUMNS
from repro.tracking import SyncResult, sync_records
from repro.tracking.metrics import metric_name

DATA = {"name": "digits10", "fingerprint": "ab" * 32, "classes": 10, "train_images": 1000, "test_images": 359}


def test_source_commit_user_description(results, client):
    save(results, 3, environment={"git_commit": "c0ffee", "torch": "2.15.0", "trained_on": ["x"], "compiled": False})
    sync_records(results)
    (run,) = runs_of(client)
    tags = run.data.tags
    assert tags["mlflow.source.name"] == "python -m repro train main_cifar10 --scale quick --seed 3"
    assert tags["mlflow.source.git.commit"] == "c0ffee"
    assert tags["mlflow.user"]
    assert "66.67%" in tags["mlflow.note.content"]
    assert "quick/main_cifar10/seed3-0a1b2c3d/record.json" in tags["mlflow.note.content"]
    assert (tags["environment.torch"], tags["environment.compiled"]) == ("2.15.0", "False")
    assert "environment.trained_on" not in tags
    assert run.data.params["seed"] == "3"
    assert client.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"


def test_dataset_with_its_fingerprint(results, client):
    save(results, data=DATA)
    sync_records(results)
    (run,) = runs_of(client)
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "digits10"
    assert given.dataset.digest == ("ab" * 32)[:36]
    assert json.loads(given.dataset.source) == {"name": "digits10", "fingerprint": "ab" * 32}
    assert json.loads(given.dataset.profile)["num_rows"] == 1000


def test_metrics_are_grouped(results, client):
    names = [metric_name(column) for column in EPOCH_COLUMNS if column != "epoch"]
    assert len(set(names)) == len(EPOCH_COLUMNS) - 1
    assert {name.split("/")[0] for name in names} == {"train", "test", "validation", "optimizer", "time"}
    save(results)
    sync_records(results)
    (run,) = runs_of(client)
    assert all(name.count("/") == 1 for name in run.data.metrics)


def test_found_under_each_of_its_names(results, client, config):
    plan = Plan(config, "quick")
    shared, names = next((spec_hash, names) for spec_hash, names in plan.serves.items() if len(names) > 1)
    save(results, 0, spec_hash=shared)
    save(results, 1, spec_hash="0a1b2c3d")
    assert sync_records(results, config=config) == SyncResult(added=2)
    experiment = client.get_experiment_by_name("repro-quick").experiment_id
    for name in names:
        (run,) = client.search_runs([experiment], f"tags.serves_{name} = 'yes'")
        assert run.data.tags["spec_hash"] == shared
        assert config.experiments[name].title in run.data.tags["mlflow.note.content"]
        assert "stale" not in run.data.tags
    (stale,) = client.search_runs([experiment], "tags.stale = 'yes'")
    assert stale.data.tags["spec_hash"] == "0a1b2c3d"
    assert sync_records(results, config=config) == SyncResult(unchanged=2)


def test_seeds_are_children_of_their_mean(results, client):
    for seed, accuracy in enumerate((0.5, 0.6, 0.7)):
        rows = [{**row, "test_loss": row["test_loss"] + seed} for row in epoch_rows(4)]
        summary = {"epochs_run": 4, "final_test_accuracy": accuracy, "validated_epoch": None}
        save(results, seed, rows, summary=summary)
        sync_records(results)
    (parent,) = parents_of(client)
    children = runs_of(client)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert parent.data.metrics["summary/final_test_accuracy"] == pytest.approx(0.6)
    assert parent.data.metrics["deviation/final_test_accuracy"] == pytest.approx(0.1)
    assert parent.data.metrics["summary/seeds"] == 3
    assert [v for _, v in history(client, parent, "test/loss")] == pytest.approx(
        [row["test_loss"] + 1 for row in epoch_rows(4)]
    )
    assert "seed" not in parent.data.params
    assert parent.data.params["quantizer.name"] == "absmax"
    before = parent.to_dictionary()
    assert sync_records(results) == SyncResult(unchanged=3)
    assert [run.to_dictionary() for run in parents_of(client)] == [before]
    save(results, 3, status="diverged", reason="loss is NaN")
    sync_records(results)
    (parent,) = parents_of(client)
    assert parent.data.metrics["summary/final_test_accuracy"] == pytest.approx(0.6), "those that did not diverge"
    assert "1 diverged" in parent.data.tags["mlflow.note.content"]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs_of(client)} == {parent.info.run_id}


def test_packed_model_is_logged(results, client):
    packed = save(results).with_name("model.safetensors")
    packed.write_bytes(b"four bits")
    other = save(results, 1, group="ablation", spec_hash="deadbeef")
    other.with_name("model.safetensors").write_bytes(b"not a main run's")
    assert sync_records(results) == SyncResult(added=2)
    assert sync_records(results) == SyncResult(unchanged=2)
    experiment = client.get_experiment_by_name("repro-quick").experiment_id
    (model,) = client.search_logged_models([experiment])
    assert (model.status, model.params["bytes"], model.tags["seed"]) == ("READY", "9", "0")
    files = Path(model.artifact_location.removeprefix("file://"))
    assert (files / "model.safetensors").read_bytes() == b"four bits"
    assert "repro.export.pyfunc" in (files / "MLmodel").read_text()
    packed.write_bytes(b"exported again")
    assert sync_records(results) == SyncResult(updated=1, unchanged=1)
    (newer,) = client.search_logged_models([experiment])
    assert newer.model_id != model.model_id
    run = client.get_run(newer.source_run_id)
    assert run.data.tags["run_key"] == "quick/0a1b2c3d/seed0"
