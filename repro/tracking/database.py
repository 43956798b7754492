"""MLflow's SQLite file: made whole or not at all, and never made of somebody else's.

MLflow migrates a new file in some hundred statements that are no transaction. A process killed meanwhile leaves a
file on which MLflow fails for ever ("table already exists", "migrate your database"). So a new database is made
beside its place and renamed when it is whole, and a half-made one, which holds nothing, is replaced.
"""

import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from enum import Enum
from pathlib import Path

from repro.errors import ReproError

# A file that another program (`mlflow ui`) is migrating changes all the time; what a kill left does not.
SETTLED_SECONDS = 5.0
# What SQLite keeps beside a database while a transaction is open or after a kill.
COMPANIONS = ("-journal", "-wal", "-shm")
BUSY_SECONDS = 20.0


class TrackingError(ReproError):
    """MLflow could not be reached or written. The records are untouched, and a later sync catches up."""


class State(Enum):
    """What lies where the database should be."""

    ABSENT = "absent"
    HALF_MADE = "half made"
    WHOLE = "whole"


def prepare(path: Path, artifacts: str) -> None:
    """Leave a whole MLflow database at ``path``; to be called by one process at a time.

    Args:
        path: Its place.
        artifacts: Where its default experiment keeps artifacts.

    Raises:
        TrackingError: If something else lies there, or an MLflow database that MLflow would have to migrate.
        sqlite3.Error: If it cannot be read, or is no database.
    """
    if inspect(path) is State.WHOLE:
        return
    new = path.with_name(f".{path.name}.new")
    _remove(new)
    path.parent.mkdir(parents=True, exist_ok=True)
    _migrate(new, artifacts)
    if _settled(path) is State.WHOLE:  # another program was faster
        _remove(new)
        return
    _remove(path)
    new.replace(path)


def inspect(path: Path) -> State:
    """What lies at ``path``.

    Raises:
        TrackingError: If it is nothing to be used or replaced.
        sqlite3.Error: If it cannot be read, or is no database.
    """
    if not path.exists() or path.stat().st_size == 0:
        return State.ABSENT
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)) as database:
        listed = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        tables = {name for (name,) in listed if not name.startswith("sqlite_")}
        marks = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if "experiments" in tables and _holds(database, "experiments"):
            _check_current(path, tables)
            return State.WHOLE
        # MLflow makes its default experiment when all tables stand: one without any is half made, or was never used
        own = _is_mlflows(tables) and not any(marks)
        if own and not any(_holds(database, table) for table in tables - _bookkeeping()):
            return State.HALF_MADE
    raise TrackingError(
        f"{path} is an SQLite database of something else, and was not touched. Name another by MLFLOW_TRACKING_URI "
        "(unset: mlflow.db in this folder)"
    )


def _holds(database: sqlite3.Connection, table: str) -> bool:
    return bool(database.execute(f'SELECT EXISTS (SELECT 1 FROM "{table}")').fetchone()[0])


def _check_current(path: Path, tables: Collection[str]) -> None:
    """MLflow would migrate an older database as soon as it opens it; killed meanwhile, what it holds could be lost."""
    if not _mlflows_tables() <= set(tables):
        raise TrackingError(
            f"{path} was made by another version of MLflow and holds experiments; it was not touched. Copy it, then "
            f"run: mlflow db upgrade sqlite:///{path} (or, where it holds nothing but this suite's runs, delete it: "
            "python -m repro track brings them back)"
        )


def _mlflows_tables() -> set[str]:
    import mlflow.store.db.utils  # noqa: F401  (registers every table)
    from mlflow.store.db.base_sql_model import Base

    return set(Base.metadata.tables)


def _is_mlflows(tables: Collection[str]) -> bool:
    """Whether MLflow's migration, stopped anywhere, may have left these tables and no other."""
    from mlflow.store.tracking.dbmodels.initial_models import Base as First

    known = _mlflows_tables() | set(First.metadata.tables) | _bookkeeping()
    return all(table in known or table.startswith("_alembic_tmp_") for table in tables)


def _bookkeeping() -> set[str]:
    """Tables into which the migration itself writes."""
    return {"alembic_version", "workspaces"}


def _migrate(new: Path, artifacts: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{new}", artifacts).engine.dispose()  # type: ignore[no-untyped-call]


def _settled(path: Path) -> State:
    """What lies at ``path`` as soon as it is whole, absent, or nobody has changed it for a while."""
    while (state := inspect(path)) is State.HALF_MADE:
        changed = max(file.stat().st_mtime for file in _files(path) if file.exists())
        left = SETTLED_SECONDS - (time.time() - changed)
        if not 0 < left <= SETTLED_SECONDS:  # a clock that was set back must not make it wait
            break
        time.sleep(min(left, 0.5))
    return state


def _files(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in COMPANIONS)]


def _remove(path: Path) -> None:
    """The database first: a journal that outlived it would otherwise be played into its successor."""
    for file in _files(path):
        file.unlink(missing_ok=True)
