"""The few things this package does with an MLflow store, and the traps of doing them.

Only the explicit ``MlflowClient`` is used. The fluent interface keeps global state, marks a run as
FINISHED when its process is interrupted, and collects git state and system metrics on its own.
"""

import logging
import os
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from repro.errors import ReproError
from repro.tracking.content import KEY_TAG, Identity, Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

DEFAULT_URI = "sqlite:///mlflow.db"
ARTIFACTS_FOLDER = "mlartifacts"
LOCK_SECONDS = 300
# MLflow's limits for one request.
METRICS_PER_BATCH = 1000
TEXTS_PER_BATCH = 100

_SQLITE = "sqlite:///"
_UNREACHABLE = ("ConnectTimeout", "ConnectionError", "ReadTimeout")  # of requests
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # By default mlflow tries for minutes to reach a server that is away.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class TrackingError(ReproError):
    """MLflow could not be reached or written. The records are untouched, and a later sync catches up."""


class Store:
    """Runs in one MLflow store, found by the identity of the run that they mirror.

    Each scale has an MLflow experiment of its own, ``repro-<scale>``: MLflow charts and ranks all runs
    of an experiment together, and accuracies on digits must not rank beside those on CIFAR.
    """

    def __init__(self, client: "MlflowClient", artifacts: str | None) -> None:
        """Wrap a client; ``artifacts`` is where new experiments keep theirs, ``None`` if the server decides."""
        self.client = client
        self._artifacts = artifacts

    def find(self, scale: str, key: str | None = None) -> dict[str, list["MlflowRun"]]:
        """Runs of a scale by their key, or those of one key alone."""
        found: dict[str, list[MlflowRun]] = defaultdict(list)
        where = "" if key is None else f"tags.{KEY_TAG} = '{key}'"
        experiment, token = self._experiment(scale), None
        while True:
            page = self.client.search_runs([experiment], where, max_results=1000, page_token=token)
            for run in page:
                found[run.data.tags.get(KEY_TAG, "")].append(run)
            token = page.token
            if not token:
                return found

    def create(self, identity: Identity, start: int) -> "MlflowRun":
        """Start a run at ``start`` (milliseconds since 1970), with its tags and parameters."""
        run = self.client.create_run(
            self._experiment(identity.scale), start_time=start, tags=dict(identity.tags), run_name=identity.name
        )
        self.log(run, params=identity.params)
        return run

    def log(
        self,
        run: "MlflowRun",
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log everything given in as few requests as the limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        run_id = run.info.run_id
        for chunk in _chunks(points, METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=[Metric(p.key, p.value, p.timestamp, p.step) for p in chunk])
        for texts in _chunks([Param(*item) for item in (params or {}).items()], TEXTS_PER_BATCH):
            self.client.log_batch(run_id, params=texts)
        for texts in _chunks([RunTag(*item) for item in (tags or {}).items()], TEXTS_PER_BATCH):
            self.client.log_batch(run_id, tags=texts)

    def missing(self, run: "MlflowRun", expected: Sequence[Point]) -> list[Point] | None:
        """Those of ``expected`` that the run lacks; ``None`` if it holds a value twice, or any other."""
        wanted = {(point.key, point.step): point for point in expected}
        for key in run.data.metrics:
            for metric in self.client.get_metric_history(run.info.run_id, key):
                point = wanted.pop((key, metric.step), None)
                if point is None or repr(point.value) != repr(float(metric.value)):  # repr: NaN equals NaN
                    return None
        return list(wanted.values())

    def delete(self, run: "MlflowRun") -> None:
        """Take a run out of sight (MLflow keeps it until ``mlflow gc``)."""
        self.client.delete_run(run.info.run_id)

    def _experiment(self, scale: str) -> str:
        from mlflow.exceptions import MlflowException

        name = f"repro-{scale}"
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self.client.create_experiment(name, self._artifacts))
            except MlflowException:  # another process, on a server that no lock guards, was faster
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":  # its name stays taken
            self.client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)


def resolve_uri(uri: str | None = None) -> str:
    """``uri``, or ``MLFLOW_TRACKING_URI``, or ``mlflow.db`` here; a path of SQLite becomes absolute."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    path = _sqlite_path(uri)
    return uri if path is None else _SQLITE + path.as_posix()


@contextmanager
def open_store(uri: str) -> Iterator[Store]:
    """Open a store, and while the context lasts be the only process to do so if it is an SQLite file.

    The lock is needed twice: processes that meet an empty database at once fail in its migration, and
    two that look for the same run at once would both create it. WAL is not switched on: batches
    once an epoch do not need it, and it breaks on network file systems.

    Args:
        uri: A resolved address.

    Raises:
        TrackingError: If anything fails in here or in the context.
    """
    path = _sqlite_path(uri)
    try:
        if path is not None:
            _check_database(path)
        with nullcontext() if path is None else _lock(path):
            artifacts = None if path is None else (path.parent / ARTIFACTS_FOLDER).as_uri()
            yield Store(_client(uri), artifacts)
    except ReproError:
        raise
    except Exception as error:  # mlflow lets through those of requests, SQLAlchemy, SQLite, the file system
        raise TrackingError(
            f"MLflow at {_mask(uri)} failed: {describe(error)}. The records are safe. Mend it, or choose another "
            "store by MLFLOW_TRACKING_URI (unset: mlflow.db in this folder), then run: python -m repro track"
        ) from error


def describe(error: BaseException) -> str:
    """The reason of a failure in one line, without credentials (mlflow's errors quote the address)."""
    if isinstance(error, TrackingError):
        error = error.__cause__ or error
    if any(type(link).__name__ in _UNREACHABLE for link in _chain(error)):
        return "the server does not answer"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shorten(_mask(lines[0]), 300, placeholder=" ...").rstrip(" .")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _mask(text: str) -> str:
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def _sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def _check_database(path: Path) -> None:
    """Fail at once where the file cannot be opened or is no database: mlflow would try for 100 seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute("PRAGMA schema_version")


def _lock(path: Path) -> AbstractContextManager[Any]:
    try:
        from filelock import FileLock
    except ImportError as error:
        raise _not_installed("filelock") from error
    return FileLock(f"{path}.lock", timeout=LOCK_SECONDS)


def _client(uri: str) -> "MlflowClient":
    for name, value in _ENVIRONMENT.items():  # before the import, which reads some of them
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise _not_installed("mlflow") from error
    return MlflowClient(tracking_uri=uri)


def _not_installed(package: str) -> TrackingError:
    return TrackingError(
        f"{package} is not installed; the records are complete without it. To see them in MLflow: "
        "pip install -e . (or copy results/ to a machine that has it), then run: python -m repro track"
    )


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))
