"""Make MLflow agree with the records, whatever it holds so far."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from repro.config.load import Config
from repro.config.runs import RECORD_NAME
from repro.records import RecordError, find_records
from repro.tracking.content import DIGEST_TAG, Mirror, Serves, read_mirror, serving
from repro.tracking.models import log_packed_model
from repro.tracking.patience import Pulse, within_limits
from repro.tracking.seeds import group_seeds
from repro.tracking.stale import end_stopped_runs
from repro.tracking.store import Store, check_uri, describe, failure, lock, open_store, resolve_uri, sqlite_path

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

LOCK_NAME = ".track.lock"  # for stores that have none of their own

Outcome = Literal["added", "updated", "unchanged"]


@dataclass(frozen=True)
class SyncResult:
    """What a sync did.

    Attributes:
        added: Records that MLflow did not know.
        updated: Records whose run was completed or replaced.
        unchanged: Records that MLflow already mirrored.
        skipped: One reason for each record that could not be mirrored; it names the file.
        stopped: Runs that were shown as running though nothing trains them, and are so no more.
        experiments: MLflow's id of each scale's experiment.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: tuple[str, ...] = ()
    stopped: int = 0
    experiments: Mapping[str, str] = field(default_factory=dict, compare=False)


def sync_records(results: str | Path = "results", uri: str | None = None, config: Config | None = None) -> SyncResult:
    """Mirror every record below ``results`` in MLflow; a second call changes nothing.

    A run's digest is its last tag: a run that carries the right one is complete. Every other run of the
    same key is completed where what it holds agrees with the record (a live run that ended well, so that
    its id survives), and replaced where it does not. Runs without a record are left alone, but for those
    of this folder that nothing trains any more: they do not stay RUNNING.

    A diverged run is FINISHED with the tag ``status=diverged``, not FAILED: divergence is a result, and
    FAILED would say that something broke.

    Args:
        results: The folder of the records.
        uri: Address of the store; by default ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in this folder.
        config: The configuration, which knows every name of a run and which runs are stale.

    Raises:
        TrackingError: If MLflow is not installed, cannot be reached, refuses, or does not get on
            (``repro.tracking.patience`` has the limits).
    """
    results, uri = Path(results), resolve_uri(uri)
    check_uri(uri)
    mirrors, skipped = _read_mirrors(results, None if config is None else serving(config))
    scales = sorted({mirror.identity.scale for mirror in mirrors} | _unfinished(results))
    database = sqlite_path(uri)
    if not scales or (not mirrors and database is not None and not database.exists()):
        return SyncResult(skipped=tuple(skipped))
    try:
        return within_limits(lambda pulse: _sync_all(results, uri, mirrors, scales, skipped, pulse))
    except TimeoutError as error:
        raise failure(uri, error) from None


def _unfinished(results: Path) -> set[str]:
    """Scales with a run that has begun and has no record."""
    return {path.parent.parent.name for path in results.glob("*/*/seed*-*/") if not (path / RECORD_NAME).exists()}


@contextmanager
def _open_alone(results: Path, uri: str) -> Iterator[Store]:
    """The store, while no other sync of these records is under way: two at once would both add a run to a server."""
    own = nullcontext() if sqlite_path(uri) or not os.access(results, os.W_OK) else lock(results / LOCK_NAME)
    with own, open_store(uri) as store:
        yield store


def _sync_all(
    results: Path, uri: str, mirrors: Sequence[Mirror], scales: Sequence[str], skipped: list[str], pulse: Pulse
) -> SyncResult:
    counts: dict[Outcome, int] = {"added": 0, "updated": 0, "unchanged": 0}
    stopped = 0
    with _open_alone(results, uri) as store:
        pulse()
        recorded = {mirror.identity.scale for mirror in mirrors}
        scales = [scale for scale in scales if scale in recorded or store.knows(scale)]
        found = {scale: store.find(scale) for scale in scales}
        for mirror in mirrors:
            outcome, refusal = _try_sync(store, mirror, found[mirror.identity.scale].get(mirror.identity.key, []))
            pulse()
            if outcome:
                counts[outcome] += 1
            else:
                skipped.append(refusal)
        for scale in scales:
            stopped += end_stopped_runs(store, scale, results)
            group_seeds(store, scale, pulse)
        experiments = {scale: store.experiment(scale) for scale in scales}
    return SyncResult(**counts, skipped=tuple(skipped), stopped=stopped, experiments=experiments)


def _read_mirrors(results: Path, serves: Serves | None) -> tuple[list[Mirror], list[str]]:
    mirrors: dict[str, Mirror] = {}
    skipped = []
    for path in find_records(results):
        try:
            mirror = read_mirror(path, serves)
        except RecordError as error:
            skipped.append(str(error))
            continue
        first = mirrors.setdefault(mirror.identity.key, mirror)
        if first is not mirror:  # otherwise the two would replace each other at every sync
            skipped.append(f"{path}: the same run as {first.files[0]}, which is mirrored; delete one of them")
    return list(mirrors.values()), skipped


def _try_sync(store: Store, mirror: Mirror, runs: Sequence["MlflowRun"]) -> tuple[Outcome | None, str]:
    """Sync one record; one whose names or values MLflow refuses must not keep out the others."""
    from mlflow.exceptions import MlflowException

    try:
        return _sync(store, mirror, runs), ""
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        return None, f"{mirror.files[0]}: MLflow refuses it: {describe(error)}"


def _sync(store: Store, mirror: Mirror, runs: Sequence["MlflowRun"]) -> Outcome:
    complete = next((run for run in runs if run.data.tags.get(DIGEST_TAG) == mirror.digest), None)
    kept = complete
    for run in runs:
        if run is kept:
            continue
        if kept is None and _finish(store, mirror, run):
            kept = run
        else:
            store.delete(run)
    if kept is None:
        kept = store.create(mirror.identity, mirror.start, mirror.tags)
        _finish(store, mirror, kept)
    new_model = log_packed_model(store, mirror, kept)
    if complete and len(runs) == 1 and not new_model:
        return "unchanged"
    return "updated" if runs else "added"


def _finish(store: Store, mirror: Mirror, run: "MlflowRun") -> bool:
    """Complete a run in place; false, with nothing done, if it holds anything that the record contradicts."""
    params, logged = mirror.identity.params, run.data.params
    if DIGEST_TAG in run.data.tags or not logged.items() <= params.items():
        return False
    points = store.missing(run, mirror.points(run.info.start_time))
    if points is None:
        return False
    tags = {key: value for key, value in mirror.tags.items() if run.data.tags.get(key) != value}
    store.log(run, points, {key: params[key] for key in params.keys() - logged.keys()}, tags)
    if mirror.dataset is not None:
        store.log_dataset(run, mirror.dataset)
    for file in mirror.files:
        store.client.log_artifact(run.info.run_id, str(file))
    store.end(run, mirror.end, mirror.digest)
    return True
