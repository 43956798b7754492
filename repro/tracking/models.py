"""A finished main run's packed 4-bit file as one of MLflow's logged models."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from repro.records import COMPLETED, RecordError, read_export
from repro.tracking.content import Mirror
from repro.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

GROUP = "main"
PACKED_NAME = "model.safetensors"  # as `repro.export.run` writes it, which imports torch
MODEL_TAG = "packed_model"


def log_packed_model(store: Store, mirror: Mirror, run: "MlflowRun") -> bool:
    """Log the packed file beside a completed main run's record, unless MLflow has that very file; whether it did.

    Args:
        store: The store.
        mirror: The record.
        run: Its complete run.
    """
    path = mirror.files[0].with_name(PACKED_NAME)
    if mirror.tags["group"] != GROUP or mirror.tags["status"] != COMPLETED or not path.is_file():
        return False
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if run.data.tags.get(MODEL_TAG) == digest:
        return False
    _log(store, mirror, run, path, digest)
    store.log(run, tags={MODEL_TAG: digest})
    return True


def _log(store: Store, mirror: Mirror, run: "MlflowRun", path: Path, digest: str) -> None:
    from mlflow.entities import LoggedModelOutput

    client, run_id = store.client, run.info.run_id
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else ():  # of an older file, or of a sync that was killed
        client.delete_logged_model(output.model_id)
    model = client.create_logged_model(
        run.info.experiment_id,
        name=f"{mirror.identity.name} packed".replace(" ", "-"),
        source_run_id=run_id,
        tags={name: mirror.tags[name] for name in ("experiment", "scale", "seed", "spec_hash")} | {"sha256": digest},
        params={"bytes": str(path.stat().st_size), **_accuracy(mirror, path)},
        model_type="packed 4-bit weights",
    )
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, folder)
        describe_model(model.model_id, Path(folder))
        client.log_model_artifacts(model.model_id, folder)
    client.finalize_logged_model(model.model_id, "READY")


def _accuracy(mirror: Mirror, path: Path) -> dict[str, str]:
    """What the export measured of this file, where it says so."""
    try:
        export = read_export(path.parent, mirror.tags["spec_hash"], int(mirror.tags["seed"]))
    except RecordError:
        export = None
    return {} if export is None else {"test_accuracy": str(export.packed["test_accuracy"])}


def describe_model(model_id: str, folder: Path) -> None:
    """``MLmodel``, so that ``mlflow.pyfunc.load_model`` gives the model where this suite is installed."""
    from mlflow import pyfunc
    from mlflow.models import Model

    about = Model(model_id=model_id)
    pyfunc.add_to_model(about, loader_module="repro.export.pyfunc", data=PACKED_NAME)
    about.save(str(folder / "MLmodel"))
