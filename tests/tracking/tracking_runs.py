"""Small records, and what MLflow should hold of them."""

import json
from pathlib import Path

from repro.config import Run, complete_spec
from repro.records import EPOCH_COLUMNS, Record, write_record

SPEC = complete_spec(
    {
        "dataset": {"name": "digits10"},
        "model": {"name": "vgg", "width": 0.25, "dropout": 0.5},
        "quantizer": {"name": "absmax", "bit_width": 4},
        "optimizer": {"name": "adamw", "learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0},
        "gradient_clip": None,
        "weight_clip": "none",
        "schedule": "constant",
        "epochs": 4,
        "batch_size": 128,
        "precision": "fp32",
    }
)


def planned_run(seed=0, spec_hash="0a1b2c3d"):
    return Run("quick", "main_cifar10", seed, SPEC, spec_hash, 1)


def epoch_rows(epochs):
    # Thirds have no short decimal form: a lossy way through the CSV would show.
    rows = [{key: (epoch + i) / 3 for i, key in enumerate(EPOCH_COLUMNS)} for epoch in range(1, epochs + 1)]
    return [{**row, "epoch": e, "validation_loss": None, "validation_accuracy": None} for e, row in enumerate(rows, 1)]


def layer_rows(epochs):
    """One quantised layer, and one that is not."""
    rows = [
        {"epoch": epoch, "layer": layer, "levels": levels, "scale": levels and 0.1 / epoch, "max_abs_weight": epoch / 7}
        for epoch in range(1, epochs + 1)
        for layer, levels in (("conv1", 15), ("fc", None))
    ]
    return [{**row, "shrink_mean_steps": None, "shrink_max_steps": None} for row in rows]


def save(results: Path, seed=0, epochs=None, layers=None, **changes) -> Path:
    """Write a small record as the trainer would; returns its path."""
    run = planned_run(seed, changes.get("spec_hash", "0a1b2c3d"))
    epochs = epoch_rows(4) if epochs is None else epochs
    fields = {
        "experiment": run.experiment, "group": "main", "scale": run.scale, "seed": seed,
        "spec": json.loads(json.dumps(run.spec)), "spec_hash": run.spec_hash, "core_version": 1,
        "status": "completed", "reason": "",
        "summary": {"epochs_run": len(epochs), "final_test_accuracy": 2 / 3, "validated_epoch": None},
        "data": {"name": "digits10"}, "layers": [],
        "size": {"packed_bytes": 1234}, "compute": {"step_flops_per_image": 5e6},
        "timing": {"started_at": "2026-01-01T10:00:00+00:00", "ended_at": "2026-01-01T10:05:00+00:00",
                   "wall_seconds": 290.5, "train_images_per_second": 100.0},
        "environment": {},
    }  # fmt: skip
    record = Record(**{**fields, **changes})
    folder = Path(results) / record.scale / record.experiment / f"seed{seed}-{record.spec_hash}"
    return write_record(folder, record, epochs, layer_rows(len(epochs)) if layers is None else layers)


def runs_of(client, name="repro-quick"):
    """Runs of one seed each; see ``parents_of``."""
    return [run for run in _all_runs(client, name) if "kind" not in run.data.tags]


def parents_of(client, name="repro-quick"):
    """Runs that hold the mean over seeds."""
    return [run for run in _all_runs(client, name) if run.data.tags.get("kind") == "seeds"]


def _all_runs(client, name):
    return client.search_runs([client.get_experiment_by_name(name).experiment_id])


def history(client, run, key):
    return [(m.step, m.value) for m in sorted(client.get_metric_history(run.info.run_id, key), key=lambda m: m.step)]


def is_exact(client, run, epochs=4):
    """Every point of the rows of the fixtures, and each once."""
    for key, column in (("train/loss", "train_loss"), ("time/wall_seconds", "wall_seconds")):
        assert history(client, run, key) == [(row["epoch"], row[column]) for row in epoch_rows(epochs)]
    scales = [(row["epoch"], row["scale"]) for row in layer_rows(epochs) if row["layer"] == "conv1"]
    assert history(client, run, "scale/conv1") == scales
    return True
