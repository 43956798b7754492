import shutil
from pathlib import Path

import pytest

EVERY = 6  # of the statements of MLflow's migration


@pytest.fixture(scope="session")
def migration(tmp_path_factory):
    """An empty database, migrated once, which takes seconds; and what a kill after every so many statements leaves."""
    import sqlalchemy
    from sqlalchemy.engine import Engine

    from repro.tracking.store import open_store

    folder = tmp_path_factory.mktemp("tracking")
    halves: list[Path] = []

    def copy(connection, cursor, statement, *_):
        if statement.lstrip()[:6].upper() in ("SELECT", "PRAGMA"):
            return
        copy.count += 1
        source = folder / ".mlflow.db.new"
        if source.exists() and copy.count % EVERY == 1:
            halves.append(folder / f"half{copy.count}.db")
            for suffix in ("", "-journal"):
                if (file := source.with_name(source.name + suffix)).exists():
                    shutil.copy(file, f"{halves[-1]}{suffix}")

    copy.count = 0
    sqlalchemy.event.listen(Engine, "after_cursor_execute", copy)
    try:
        with open_store(f"sqlite:///{folder}/mlflow.db"):
            pass
    finally:
        sqlalchemy.event.remove(Engine, "after_cursor_execute", copy)
    return folder / "mlflow.db", halves


@pytest.fixture(scope="session")
def migrated(migration):
    return migration[0]


@pytest.fixture
def quick_migration(migrated, monkeypatch):
    """A new database in a moment."""
    monkeypatch.setattr("repro.tracking.database._migrate", lambda new, artifacts: shutil.copy(migrated, new))


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
