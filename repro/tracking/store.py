"""The few things this package does with an MLflow store, and the traps of doing them.

Only the explicit ``MlflowClient`` is used. The fluent interface keeps global state, marks a run as
FINISHED when its process is interrupted, and collects git state and system metrics on its own.
"""

import getpass
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import zip_longest
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from repro.errors import ReproError
from repro.tracking.content import DIGEST_TAG, KEY_TAG, Dataset, Identity
from repro.tracking.database import TrackingError, prepare
from repro.tracking.metrics import SYSTEM, Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

DEFAULT_URI = "sqlite:///mlflow.db"
ARTIFACTS_FOLDER = "mlartifacts"
LOCK_SECONDS = 300
# MLflow's limits for one request, which all three kinds share a limit of 1000 in.
METRICS_PER_BATCH = 800
TEXTS_PER_BATCH = 100

KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"  # else the page opens on LLM usage

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


class Store:
    """Runs in one MLflow store, found by the identity of the run that they mirror.

    Each scale has an MLflow experiment of its own, ``repro-<scale>``: MLflow charts and ranks all runs
    of an experiment together, and accuracies on digits must not rank beside those on CIFAR.
    """

    def __init__(self, client: "MlflowClient", artifacts: str | None) -> None:
        """Wrap a client; ``artifacts`` is where new experiments keep theirs, ``None`` if the server decides."""
        self.client = client
        self._artifacts = artifacts
        self._experiments: dict[str, str] = {}

    def find(self, scale: str, where: str = "") -> dict[str, list["MlflowRun"]]:
        """Runs of a scale by their key; ``where`` is a filter in MLflow's language."""
        found: dict[str, list[MlflowRun]] = defaultdict(list)
        experiment, token = self.experiment(scale), None
        while True:
            page = self.client.search_runs([experiment], where, max_results=1000, page_token=token)
            for run in page:
                found[run.data.tags.get(KEY_TAG, "")].append(run)
            token = page.token
            if not token:
                return found

    def create(self, identity: Identity, start: int, tags: Mapping[str, str] | None = None) -> "MlflowRun":
        """Start a run at ``start`` (milliseconds since 1970), with its tags; parameters are for ``log``."""
        return self.client.create_run(
            self.experiment(identity.scale),
            start_time=start,
            tags={**identity.tags, "mlflow.user": _user(), **(tags or {})},
            run_name=identity.name,
        )

    def end(self, run: "MlflowRun", end: int, digest: str) -> None:
        """Say that a run is complete; its digest comes last."""
        self.client.set_terminated(run.info.run_id, "FINISHED", end)
        self.client.set_tag(run.info.run_id, DIGEST_TAG, digest)

    def log(
        self,
        run: "MlflowRun",
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log everything given in as few requests as the limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(p.key, p.value, p.timestamp, p.step) for p in points]
        parts = zip_longest(
            _chunks(metrics, METRICS_PER_BATCH),
            _chunks([Param(*item) for item in (params or {}).items()], TEXTS_PER_BATCH),
            _chunks([RunTag(*item) for item in (tags or {}).items()], TEXTS_PER_BATCH),
            fillvalue=(),
        )
        for some_metrics, some_params, some_tags in parts:
            self.client.log_batch(run.info.run_id, some_metrics, some_params, some_tags)

    def log_dataset(self, run: "MlflowRun", dataset: Dataset) -> None:
        """Name the data that a run was trained with."""
        from mlflow.entities import Dataset as MlflowDataset
        from mlflow.entities import DatasetInput, InputTag

        named = MlflowDataset(dataset.name, dataset.digest, "repro", dataset.source, profile=dataset.profile)
        self.client.log_inputs(run.info.run_id, [DatasetInput(named, [InputTag("mlflow.data.context", "training")])])

    def missing(self, run: "MlflowRun", expected: Sequence[Point]) -> list[Point] | None:
        """Those of ``expected`` that the run lacks; ``None`` if it holds a value twice, or any other."""
        wanted = {(point.key, point.step): point for point in expected}
        for key in run.data.metrics:
            if key.startswith(SYSTEM):
                continue
            for metric in self.client.get_metric_history(run.info.run_id, key):
                point = wanted.pop((key, metric.step), None)
                if point is None or repr(point.value) != repr(float(metric.value)):  # repr: NaN equals NaN
                    return None
        return list(wanted.values())

    def delete(self, run: "MlflowRun") -> None:
        """Take a run out of sight (MLflow keeps it until ``mlflow gc``)."""
        self.client.delete_run(run.info.run_id)

    def knows(self, scale: str) -> bool:
        """Whether a scale has an experiment."""
        return self.client.get_experiment_by_name(f"repro-{scale}") is not None

    def experiment(self, scale: str) -> str:
        """The id of a scale's experiment, which is made where there is none."""
        from mlflow.exceptions import MlflowException

        if scale in self._experiments:
            return self._experiments[scale]
        name = f"repro-{scale}"
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            with suppress(MlflowException):  # another process, on a server that no lock guards, was faster
                self.client.create_experiment(name, self._artifacts, tags={KIND_TAG: KIND})
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                raise TrackingError(f"the experiment {name} could not be made")
        if experiment.lifecycle_stage == "deleted":  # its name stays taken
            self.client.restore_experiment(experiment.experiment_id)
        if KIND_TAG not in experiment.tags:
            self.client.set_experiment_tag(experiment.experiment_id, KIND_TAG, KIND)
        return self._experiments.setdefault(scale, str(experiment.experiment_id))


def resolve_uri(uri: str | None = None) -> str:
    """``uri``, or ``MLFLOW_TRACKING_URI``, or ``mlflow.db`` here; a path of SQLite becomes absolute."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    path = sqlite_path(uri)
    return uri if path is None else _SQLITE + path.as_posix()


def check_uri(uri: str) -> None:
    """Refuse what is no address: MLflow would take it for a folder, of a kind that it gives up.

    Raises:
        TrackingError: If it has no scheme.
    """
    if "://" not in uri and not uri.startswith("databricks"):
        raise TrackingError(f"{uri}: no address of MLflow; write sqlite:///FILE.db, or a server's http://HOST:PORT")


def pages(uri: str, experiments: Mapping[str, str]) -> list[str]:
    """Where to look: the command that serves a database's pages, if need be, and each scale's list of runs.

    Args:
        uri: A resolved address.
        experiments: MLflow's id of each scale's experiment.
    """
    database = sqlite_path(uri)
    server = _mask(uri).rstrip("/") if database is None else "http://127.0.0.1:5000"
    # the address of an experiment alone opens a page on the use of language models
    lists = [
        f"runs of scale {scale}: {server}/#/experiments/{number}/runs?workflowType=machine_learning"
        for scale, number in experiments.items()
    ]
    return lists if database is None else [f"to look at them: mlflow ui --backend-store-uri {uri}", *lists]


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
    check_uri(uri)
    path = sqlite_path(uri)
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        with nullcontext() if path is None else lock(path.with_name(f"{path.name}.lock")):
            _configure()
            artifacts = None if path is None else (path.parent / ARTIFACTS_FOLDER).as_uri()
            if path is not None and artifacts is not None:
                prepare(path, artifacts)
            yield Store(_client(uri), artifacts)
    except ReproError:
        raise
    except Exception as error:  # mlflow lets through those of requests, SQLAlchemy, SQLite, the file system
        raise failure(uri, error) from error


def failure(uri: str, error: BaseException) -> TrackingError:
    """What to say to the user of a failure of MLflow."""
    return TrackingError(
        f"MLflow at {_mask(uri)} failed: {describe(error)}. The records are safe. Mend it, or choose another "
        "store by MLFLOW_TRACKING_URI (unset: mlflow.db in this folder), then run: python -m repro track"
    )


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


def sqlite_path(uri: str) -> Path | None:
    """The file of an address of SQLite; ``None`` for any other."""
    return Path(uri.removeprefix(_SQLITE)).absolute() if uri.startswith(_SQLITE) else None


def lock(file: Path) -> AbstractContextManager[Any]:
    """A file that one process holds at a time; a killed one lets it go."""
    try:
        from filelock import FileLock
    except ImportError as error:
        raise _not_installed("filelock") from error
    return FileLock(file, timeout=LOCK_SECONDS)


def _configure() -> None:
    """Before mlflow is imported, which reads some of the variables then."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # an attempt that fails: what comes of it is told once
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise _not_installed("mlflow") from error


def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"


def _not_installed(package: str) -> TrackingError:
    return TrackingError(
        f"{package} is not installed; the records are complete without it. To see them in MLflow: "
        "pip install -e . (or copy results/ to a machine that has it), then run: python -m repro track"
    )


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))
