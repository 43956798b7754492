import shutil

import pytest


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """An empty database, migrated once: that takes seconds."""
    from repro.tracking.store import open_store

    path = tmp_path_factory.mktemp("tracking") / "mlflow.db"
    with open_store(f"sqlite:///{path}"):
        return path


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def database(tmp_path, migrated):
    return shutil.copy(migrated, tmp_path / "mlflow.db")


@pytest.fixture
def client(database):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{database}")
