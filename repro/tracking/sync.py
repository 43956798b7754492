"""Make MLflow agree with the records, whatever it holds so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from repro.records import RecordError, find_records
from repro.tracking.content import DIGEST_TAG, Mirror, read_mirror
from repro.tracking.store import Store, describe, open_store, resolve_uri

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

Outcome = Literal["added", "updated", "unchanged"]


@dataclass(frozen=True)
class SyncResult:
    """What a sync did.

    Attributes:
        added: Records that MLflow did not know.
        updated: Records whose run was completed or replaced.
        unchanged: Records that MLflow already mirrored.
        skipped: One reason for each record that could not be mirrored; it names the file.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: tuple[str, ...] = ()


def sync_records(results: str | Path = "results", uri: str | None = None) -> SyncResult:
    """Mirror every record below ``results`` in MLflow; a second call changes nothing.

    A run's digest is its last tag: a run that carries the right one is complete. Every other run of the
    same key is completed where what it holds agrees with the record (a live run that ended well, so that
    its id survives), and replaced where it does not. Runs without a record are left alone.

    A diverged run is FINISHED with the tag ``status=diverged``, not FAILED: divergence is a result, and
    FAILED would say that something broke.

    Args:
        results: The folder of the records.
        uri: Address of the store; by default ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in this folder.

    Raises:
        TrackingError: If MLflow is not installed, cannot be reached or refuses.
    """
    mirrors, skipped = _read_mirrors(Path(results))
    counts: dict[Outcome, int] = {"added": 0, "updated": 0, "unchanged": 0}
    if mirrors:
        with open_store(resolve_uri(uri)) as store:
            found = {scale: store.find(scale) for scale in {mirror.identity.scale for mirror in mirrors}}
            for mirror in mirrors:
                runs = found[mirror.identity.scale].get(mirror.identity.key, [])
                outcome, refusal = _try_sync(store, mirror, runs)
                if outcome:
                    counts[outcome] += 1
                else:
                    skipped.append(refusal)
    return SyncResult(**counts, skipped=tuple(skipped))


def _read_mirrors(results: Path) -> tuple[list[Mirror], list[str]]:
    mirrors: dict[str, Mirror] = {}
    skipped = []
    for path in find_records(results):
        try:
            mirror = read_mirror(path)
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
    if complete:
        return "unchanged" if len(runs) == 1 else "updated"
    if kept is None:
        _finish(store, mirror, store.create(mirror.identity, mirror.start))
    return "updated" if runs else "added"


def _finish(store: Store, mirror: Mirror, run: "MlflowRun") -> bool:
    """Complete a run in place; false, with nothing done, if it holds anything that the record contradicts."""
    params, logged = mirror.identity.params, run.data.params
    if DIGEST_TAG in run.data.tags or not logged.items() <= params.items():
        return False
    points = store.missing(run, mirror.points(run.info.start_time))
    if points is None:
        return False
    store.log(run, points, {key: params[key] for key in params.keys() - logged.keys()}, mirror.tags)
    for file in mirror.files:
        store.client.log_artifact(run.info.run_id, str(file))
    store.client.set_terminated(run.info.run_id, "FINISHED", mirror.end)
    store.log(run, tags={DIGEST_TAG: mirror.digest})
    return True
