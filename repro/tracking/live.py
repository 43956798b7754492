"""Show a run in MLflow while it trains. Nothing in here may stop or slow the training."""

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.config.runs import Run
from repro.records import COMPLETED, DIVERGED
from repro.tracking.content import DIGEST_TAG, epoch_points, identify, milliseconds
from repro.tracking.store import Store, describe, open_store, resolve_uri

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

CLOSE_SECONDS = 30.0

# Every epoch has it, and it is logged after the epoch's layers: an epoch that has it is all there.
_MARKER = "learning_rate"
_Rows = tuple[Mapping[str, Any], ...]
_logger = logging.getLogger(__name__)


class LiveTracker:
    """Logs the epochs of one run from a thread of its own.

    After the first failure of any kind it warns once and goes quiet; the sync of the finished record
    repairs what is missing. A run that is killed stays RUNNING; resumed, it goes on with the same MLflow
    run. Close it before the run's record is synced.
    """

    def __init__(self, run: Run, group: str, uri: str | None = None, started_at: str | None = None) -> None:
        """Start in the background; returns at once.

        Args:
            run: The run that trains.
            group: The group of its experiment.
            uri: As for ``sync_records``.
            started_at: When the training started, as in the record's ``timing``; by default now.
        """
        self._start_time = round(1000 * time.time()) if started_at is None else milliseconds(started_at)
        self._identity = identify(run, group, run.spec["dataset"]["name"])
        self._uri = resolve_uri(uri)
        self._queue: queue.SimpleQueue[tuple[_Rows, _Rows] | str] = queue.SimpleQueue()
        self._logged: set[int] = set()
        self._warned = False
        self._abandoned = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def log_epochs(self, epoch_rows: Sequence[Mapping[str, Any]], layer_rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the epochs that MLflow does not have yet, in one batch.

        Call it after the checkpoint that holds them: an epoch that a resumed run trains anew takes
        another time, and the sync then replaces the run.

        Args:
            epoch_rows: All rows so far, as for ``repro.records.write_progress``, also those before a resumption.
            layer_rows: All rows so far, likewise.
        """
        if self._thread.is_alive():
            self._queue.put((tuple(epoch_rows), tuple(layer_rows)))

    def close(self, status: str) -> None:
        """Log what is waiting and stop; waits ``CLOSE_SECONDS`` at most.

        Args:
            status: ``completed`` or ``diverged`` end the MLflow run as FINISHED; any other
                leaves it RUNNING, to be resumed.
        """
        self._queue.put(status)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._abandoned = True
            self._warn(f"MLflow at work for more than {CLOSE_SECONDS:.0f} s after the last epoch")

    def _work(self) -> None:
        try:
            with open_store(self._uri) as store:  # its lock is held for the start alone
                if self._abandoned:  # it waited for the lock so long that the record may have been synced
                    return
                run = self._start(store)
            while not isinstance(item := self._queue.get(), str):
                self._log(store, run, *item)
            store.log(run, tags={"status": item})
            if item in (COMPLETED, DIVERGED):
                store.client.set_terminated(run.info.run_id, "FINISHED")
        except Exception as error:  # whatever it is, the training is worth more
            self._warn(describe(error))

    def _start(self, store: Store) -> "MlflowRun":
        """Go on with the unfinished run of this key, or start one; never leave two."""
        kept = None
        for run in store.find(self._identity.scale, self._identity.key)[self._identity.key]:
            same = DIGEST_TAG not in run.data.tags and run.data.params == self._identity.params
            if same and kept is None:
                kept = run
            else:  # the run of an older record, which this training replaces
                store.delete(run)
        if kept is None:
            return store.create(self._identity, self._start_time)
        store.client.update_run(kept.info.run_id, "RUNNING")
        self._logged = {metric.step for metric in store.client.get_metric_history(kept.info.run_id, _MARKER)}
        return kept

    def _log(self, store: Store, run: "MlflowRun", epochs: _Rows, layers: _Rows) -> None:
        points = epoch_points(epochs, layers, run.info.start_time)
        store.log(run, [point for point in points if point.step not in self._logged])
        self._logged |= {point.step for point in points}

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning("live tracking stopped (%s); `python -m repro track` will catch up later", reason)
