"""Runs that MLflow shows as RUNNING though nothing trains them any more: a killed trainer cannot say so."""

import hashlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from repro.records.locks import is_locked
from repro.tracking.content import DIGEST_TAG
from repro.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

PLACE_TAG = "place"
STOPPED = "stopped"


def place(results: Path) -> str:
    """A name of this folder of results on this machine that gives neither away.

    A server may serve many machines; each can tell of its own runs alone whether something trains them.
    """
    return hashlib.sha256(f"{platform.node()}:{results.resolve()}".encode()).hexdigest()[:16]


def end_stopped_runs(store: Store, scale: str, results: Path) -> int:
    """Mark this place's running runs of a scale that no process trains as KILLED; gives their number.

    A resumed training takes such a run up again, and the sync completes it when there is a record.
    """
    running = store.find(scale, "attributes.status = 'RUNNING'")
    stopped = [run for runs in running.values() for run in runs if _is_stopped(run, results)]
    for run in stopped:
        store.client.set_tag(run.info.run_id, "status", STOPPED)
        store.client.set_terminated(run.info.run_id, "KILLED", max(_times(run)))
    return len(stopped)


def _is_stopped(run: "MlflowRun", results: Path) -> bool:
    tags = run.data.tags
    if DIGEST_TAG in tags or not {"scale", "experiment", "seed", "spec_hash"} <= tags.keys():
        return False
    directory = results / tags["scale"] / tags["experiment"] / f"seed{tags['seed']}-{tags['spec_hash']}"
    # one from before the tag was there is this place's if its folder is
    here = tags[PLACE_TAG] == place(results) if PLACE_TAG in tags else directory.exists()
    return here and not is_locked(directory)


def _times(run: "MlflowRun") -> Iterator[int]:
    """When it last said something."""
    yield run.info.start_time
    yield from (metric.timestamp for metric in run.data._metric_objs)
