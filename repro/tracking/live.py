"""Show a run in MLflow while it trains. Nothing in here may stop or slow the training."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.config.load import Experiment
from repro.config.runs import Run
from repro.records import COMPLETED, DIVERGED
from repro.records.environment import describe_environment
from repro.tracking.content import DIGEST_TAG, KEY_TAG, identify, milliseconds
from repro.tracking.metrics import epoch_points, metric_name
from repro.tracking.stale import PLACE_TAG, end_stopped_runs, place
from repro.tracking.store import Store, describe, open_store, resolve_uri

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

CLOSE_SECONDS = 30.0  # of one process, for all the runs that it trains
RETRY_SECONDS = 60.0  # after a failure: a server that was restarted is back by then
LONG_SECONDS = 600.0  # runs that are expected to take longer show what their machine does
SYSTEM_SAMPLES = 1000  # of each of the machine's metrics in a run, at most about

# Every epoch has it, and it is logged after the epoch's layers: an epoch that has it is all there.
_MARKER = metric_name("learning_rate")
_Rows = tuple[Mapping[str, Any], ...]
_logger = logging.getLogger(__name__)


class _Budget:
    """Seconds that this process may still wait for MLflow at the end of its runs."""

    def __init__(self) -> None:
        self.spent = 0.0

    def join(self, thread: threading.Thread) -> bool:
        """Wait for a thread as long as there is time; whether it ended."""
        start = time.monotonic()
        thread.join(max(0.0, CLOSE_SECONDS - self.spent))
        self.spent += time.monotonic() - start
        return not thread.is_alive()


_budget = _Budget()


class LiveTracker:
    """Logs the epochs of one run from a thread of its own.

    At the first failure of any kind it warns once; later epochs try again, a minute apart. What is still missing at
    the end, the sync of the finished record repairs. A run that is interrupted is KILLED, and so is, at the next sync,
    one whose process was; resumed, it goes on with the same MLflow run. Close it before the run's record is synced.
    """

    def __init__(
        self,
        run: Run,
        group: str,
        uri: str | None = None,
        started_at: str | None = None,
        experiments: Sequence[Experiment] | None = None,
        results: Path = Path("results"),
        seconds: float = 0.0,
    ) -> None:
        """Start in the background; returns at once.

        Args:
            run: The run that trains.
            group: The group of its experiment.
            uri: As for ``sync_records``.
            started_at: When the training started, as in the record's ``timing``; by default now.
            experiments: All that the run serves; by default its own.
            results: The folder of the records.
            seconds: How long the run is expected to take.
        """
        self._start_time = round(1000 * time.time()) if started_at is None else milliseconds(started_at)
        self._identity = identify(run, group, run.spec["dataset"]["name"], experiments)
        self._uri, self._results, self._seconds = resolve_uri(uri), results, seconds
        self._queue: queue.SimpleQueue[tuple[_Rows, _Rows] | str] = queue.SimpleQueue()
        self._logged: set[int] = set()
        self._warned = False
        self._abandoned = False
        self._failed_at = 0.0
        self._store: Store | None = None
        self._run: MlflowRun | None = None
        self._monitor: SystemMetricsMonitor | None = None
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
        """Log what is waiting and stop; one process waits ``CLOSE_SECONDS`` at most for all its runs together.

        Args:
            status: ``completed`` or ``diverged`` end the MLflow run as FINISHED; any other as
                KILLED, to be resumed.
        """
        self._queue.put(status)
        if not _budget.join(self._thread):
            self._abandoned = True
            self._warn(f"MLflow at work for more than {CLOSE_SECONDS:.0f} s after the last epoch")

    def _work(self) -> None:
        self._guarded(self._connect)
        while not isinstance(item := self._queue.get(), str):
            if self._run is None and time.monotonic() - self._failed_at >= RETRY_SECONDS:
                self._guarded(self._connect)
            self._guarded(self._log, *item)
        self._guarded(self._end, item)
        if self._monitor is not None:
            self._monitor.finish()  # type: ignore[no-untyped-call]

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        """A failure ends the connection, which a later epoch makes anew: the training is worth more, whatever it is."""
        try:
            action(*arguments)
        except Exception as error:
            self._warn(describe(error))
            self._failed_at, self._run = time.monotonic(), None

    def _connect(self) -> None:
        with open_store(self._uri) as store:  # its lock is held for the start alone
            if self._abandoned:  # it waited for the lock so long that the record may have been synced
                return
            run = self._start(store)
        self._watch_machine(run)
        self._store, self._run = store, run

    def _start(self, store: Store) -> "MlflowRun":
        """Go on with the unfinished run of this key, or start one; never leave two."""
        kept, key = None, self._identity.key
        end_stopped_runs(store, self._identity.scale, self._results)
        for run in store.find(self._identity.scale, f"tags.{KEY_TAG} = '{key}'")[key]:
            same = DIGEST_TAG not in run.data.tags and run.data.params == self._identity.params
            if same and kept is None:
                kept = run
            else:  # the run of an older record, which this training replaces
                store.delete(run)
        commit = describe_environment()["git_commit"]
        tags = {PLACE_TAG: place(self._results)} | ({"mlflow.source.git.commit": str(commit)} if commit else {})
        if kept is None:
            kept = store.create(self._identity, self._start_time, {**tags, "status": "running"})
            store.log(kept, params=self._identity.params)
            return kept
        store.client.update_run(kept.info.run_id, "RUNNING")
        store.log(kept, tags={**self._identity.tags, **tags, "status": "running"})
        self._logged = {metric.step for metric in store.client.get_metric_history(kept.info.run_id, _MARKER)}
        return kept

    def _watch_machine(self, run: "MlflowRun") -> None:
        """Have MLflow log processor, memory and network use of a long run."""
        if self._seconds < LONG_SECONDS or self._monitor is not None:
            return
        try:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # our own warning says it once
            self._monitor = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
                run.info.run_id,
                sampling_interval=max(10.0, self._seconds / SYSTEM_SAMPLES),
                resume_logging=True,
                tracking_uri=self._uri,
            )
            self._monitor.start()  # type: ignore[no-untyped-call]
        except ImportError:  # psutil is not there, on a phone
            self._monitor = None

    def _log(self, epochs: _Rows, layers: _Rows) -> None:
        if self._store is None or self._run is None:
            return
        points = epoch_points(epochs, layers, self._run.info.start_time)
        self._store.log(self._run, [point for point in points if point.step not in self._logged])
        self._logged |= {point.step for point in points}

    def _end(self, status: str) -> None:
        if self._store is None or self._run is None:
            return
        self._store.client.set_tag(self._run.info.run_id, "status", status)
        ended = "FINISHED" if status in (COMPLETED, DIVERGED) else "KILLED"
        now = round(1000 * time.time())
        self._store.client.set_terminated(self._run.info.run_id, ended, max(now, self._run.info.start_time))

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning(
                "not shown live in MLflow for now (%s); `python -m repro track` will catch up later", reason
            )
