"""One run from its resolved experiment to its record: locked, resumable, never half written."""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from filelock import FileLock, Timeout

from repro.config import CORE_VERSION, Plan, Run
from repro.config.runs import ZERO_RATE_WEIGHTS_NAME
from repro.config.schedules import zero_rate_epoch
from repro.errors import ReproError
from repro.records import (
    LOCK_NAME,
    Record,
    delete_temporary_files,
    read_record,
    restore_record,
    write_progress,
    write_record,
)
from repro.train.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    delete_checkpoint,
    load_checkpoint,
    save_weights,
)
from repro.train.device import choose_device, set_arithmetic
from repro.train.measure import count_flops, count_parameters, describe_layers, layer_rows, model_sizes, rounded
from repro.train.outcome import judge, summarize
from repro.train.progress import Progress, make_progress
from repro.train.snapshots import Snapshots
from repro.train.surroundings import describe_data, describe_place, load_data, now, session_environment
from repro.train.trainer import Interrupted, Trainer

LOCK_SECONDS = 2.0  # `python -m repro status` holds a run's lock for a moment

logger = logging.getLogger(__name__)


class RunBusyError(ReproError):
    """Another process trains the same run."""


class Tracker(Protocol):
    """Follows a run live; see ``repro.tracking``."""

    def log_epochs(self, epoch_rows: Sequence[Mapping[str, Any]], layer_rows: Sequence[Mapping[str, Any]]) -> None:
        """Take all rows so far."""

    def close(self, status: str) -> None:
        """The run ended with ``status``, or was ``interrupted``."""


@dataclass
class Settings:
    """How to train, as far as it changes no number in the spec.

    Attributes:
        results: Folder of the records.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: Threads of a CPU run; ``None`` takes the scale's.
        data_dir: Folder of the data sets; ``None`` takes REPRO_DATA_DIR or ``data/``.
        group: The experiment's group, for the record.
        track: Called after each epoch with the estimated seconds of the whole run and
            the time at which it started (ISO 8601), until it gives a tracker.
        stop: Asked after each step whether to stop at its boundary.
        progress: Where progress goes.
        checkpoint_seconds: An epoch's end is saved unless less time has passed since the last; a stop always is.
        compile: Compile the model with inductor, which changes the last bits; pays on a GPU at most.
        plan: The runs of the scale, with which this one shares its first epochs; ``None`` shares none.
    """

    results: Path = Path("results")
    device: str = "auto"
    threads: int | None = None
    data_dir: Path | None = None
    group: str = ""
    track: Callable[[float, str], Tracker | None] = lambda seconds, started_at: None
    stop: Callable[[], bool] = lambda: False
    progress: Progress | None = None
    checkpoint_seconds: float = 10.0
    compile: bool = False
    plan: Plan | None = None


def training(run: Run, settings: Settings) -> Generator[None, None, Record]:
    """Train one run to its end, or go on from its checkpoint; a finished run is only read.

    A generator that pauses after every step, so that one process can train several runs in turns.

    Args:
        run: Which run.
        settings: Device, threads, folders and listeners.

    Returns:
        The record, as it stands under ``settings.results``. A run that diverges is a
        result too, with ``status`` ``diverged``.

    Raises:
        RunBusyError: If another process trains this run.
        ResumeError: If there is a checkpoint that cannot go on here.
        StorageError: If the disk is full; the last checkpoint stands.
        Interrupted: If ``settings.stop`` asked for it; the state is in the checkpoint.
        ReproError: If data or device are not there.
    """
    if run.epochs_to_train == 0:
        raise ReproError(f"{run.experiment} trains nothing: quantise it with repro.train.quantize_run")
    directory = run.directory(settings.results)
    with only_writer(directory):
        record = finished_record(run, settings.results)
        if record is None:
            record = yield from _Session(run, settings, directory).train()
        return record


def finished_record(run: Run, results: Path) -> Record | None:
    """The run's record, restored from its copy where it was lost; where there is none, ``None`` and a tidy folder."""
    path, directory = run.record_path(results), run.directory(results)
    if path.exists():
        return read_record(path)
    if restore_record(directory):
        logger.info("%s: restored, the run had finished; to make it again, delete its folder", path)
        return read_record(path)
    delete_temporary_files(directory)
    return None


@contextmanager
def only_writer(directory: Path) -> Iterator[None]:
    """One process a run: after a killed workflow a trainer of its may still be at work."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK_NAME)
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise RunBusyError(
            f"{directory}: another process trains this run (after a killed workflow its trainers go on); "
            "wait for it or end it, then run again"
        ) from None
    except OSError as error:
        raise ReproError(f"{directory}: cannot be written ({error.strerror}); choose another --results") from None
    try:
        yield
    finally:
        lock.release()


class _Session:
    """One process's share of one run."""

    def __init__(self, run: Run, settings: Settings, directory: Path) -> None:
        self.run, self.settings, self.directory = run, settings, directory
        self.device = choose_device(settings.device)
        self.threads = run.torch_threads if settings.threads is None else settings.threads
        set_arithmetic(self.device, self.threads, run.spec["precision"])
        self.trainer = Trainer(run.spec, run.seed, load_data(run, settings.data_dir), self.device)
        self.data = self.trainer.data
        self.compute = count_flops(self.trainer.model)
        self.zero_rate_epoch = zero_rate_epoch(run.spec)
        if settings.compile:
            self.trainer.model.compile(dynamic=False)
        self.writer = CheckpointWriter(directory)
        self.checkpoint = self._resume()
        self.checkpoint.trained_on = list(dict.fromkeys([*self.checkpoint.trained_on, describe_place(self.device)]))
        self.progress = settings.progress or make_progress()
        self.tracker: Tracker | None = None

    def train(self) -> Generator[None, None, Record]:
        epochs = self.run.spec["epochs"]
        self.progress.start(f"{self.run.experiment} {self.run.scale} seed{self.run.seed}", epochs, self.epochs_done)
        outcome = "interrupted"
        try:
            while self.epochs_done < epochs and not self._broken():
                yield from self._train_epoch()
            record = self._finish()
            outcome = record.status
            return record
        finally:
            self.writer.close()
            self.progress.close()
            if self.tracker is not None:
                self.tracker.close(outcome)

    @property
    def epochs_done(self) -> int:
        return self.trainer.epochs_done

    def _resume(self) -> Checkpoint:
        setting: dict[str, Any] = {
            "spec_hash": self.run.spec_hash,
            "seed": self.run.seed,
            "device": self.device.type,
            "data": self.data.fingerprint,
        }
        if self.device.type == "cpu":  # on a GPU the number of host threads changes no bit
            setting["threads"] = self.threads
        common = {**setting, "spec_hash": None, "compiled": self.settings.compile}
        self.snapshots = Snapshots(self.run, self.settings.plan, self.settings.results, common)
        checkpoint = load_checkpoint(self.directory, setting)
        if checkpoint is None:
            snapshot = self.snapshots.take()
            if snapshot is None:
                return Checkpoint(setting=setting, started_at=now())
            checkpoint = replace(snapshot, setting=setting)
            self.writer.save(checkpoint)  # its own from now on, whoever deletes the snapshot
            write_progress(self.directory, checkpoint.epochs, checkpoint.layers)
        self.trainer.load_state(checkpoint.trainer)
        self._keep_zero_rate_weights()
        return checkpoint

    def _train_epoch(self) -> Iterator[None]:
        state, trainer, start = self.checkpoint, self.trainer, time.perf_counter()
        before, steps = state.partial_seconds, len(trainer.batches)
        trainer.start_epoch()
        while trainer.steps_done < steps:
            trainer.train_step()
            self.progress.step(trainer.steps_done, steps)
            if self.settings.stop() and trainer.steps_done < steps:
                state.partial_seconds = before + time.perf_counter() - start
                self._save()
                self.writer.wait()
                raise Interrupted
            yield
        figures = trainer.finish_epoch()
        train_seconds = before + time.perf_counter() - start
        row: dict[str, Any] = {"epoch": self.epochs_done, **rounded(figures), **rounded(self._evaluate())}
        wall_seconds = before + time.perf_counter() - start
        row |= rounded({"wall_seconds": wall_seconds, "images_per_second": len(self.data.train.labels) / train_seconds})
        row |= {key: row.get(key) for key in ("validation_loss", "validation_accuracy")}
        state.epochs.append(row)
        state.layers += layer_rows(trainer.model, trainer.weight_clip.moved, self.epochs_done)
        state.wall_seconds += wall_seconds
        state.partial_seconds = 0.0
        self._keep_zero_rate_weights()
        self._save(at_least_every=self.settings.checkpoint_seconds)
        self.snapshots.keep(state, self.writer)
        write_progress(self.directory, state.epochs, state.layers)
        self.progress.epoch(row)
        self._track(row)

    def _evaluate(self) -> dict[str, float]:
        figures = {}
        for name in ("test", "validation"):
            split = getattr(self.data, name)
            if split is not None:
                figures[f"{name}_loss"], figures[f"{name}_accuracy"] = self.trainer.evaluate(split)
        return figures

    def _keep_zero_rate_weights(self) -> None:
        if self.epochs_done == self.zero_rate_epoch and not self.trainer.steps_done:
            save_weights(self.directory, self.trainer.model, ZERO_RATE_WEIGHTS_NAME)

    def _save(self, at_least_every: float = 0.0) -> None:
        self.checkpoint.trainer = self.trainer.state()
        self.writer.save(self.checkpoint, at_least_every)

    def _track(self, row: Mapping[str, Any]) -> None:
        if self.tracker is None:
            self.tracker = self.settings.track(
                row["wall_seconds"] * self.run.spec["epochs"], self.checkpoint.started_at
            )
        if self.tracker is not None:
            self.tracker.log_epochs(self.checkpoint.epochs, self.checkpoint.layers)

    def _broken(self) -> bool:
        """Whether the last epoch left no number to go on from."""
        return bool(self.checkpoint.epochs) and not math.isfinite(self.checkpoint.epochs[-1]["train_loss"])

    def _finish(self) -> Record:
        state = self.checkpoint
        status, reason = judge(state.epochs, self.data.classes)
        zero_rate_weights = self.directory / ZERO_RATE_WEIGHTS_NAME
        record = Record(
            experiment=self.run.experiment,
            group=self.settings.group,
            scale=self.run.scale,
            seed=self.run.seed,
            spec=self.run.spec,
            spec_hash=self.run.spec_hash,
            core_version=CORE_VERSION,
            status=status,
            reason=reason,
            summary={
                **count_parameters(self.trainer.model),
                **summarize(state.epochs),
                "zero_rate_epoch": self.zero_rate_epoch if zero_rate_weights.exists() else None,
            },
            data=describe_data(self.data),
            layers=describe_layers(self.trainer.model),
            size=model_sizes(self.trainer.model),
            compute=self.compute,
            timing={
                "started_at": state.started_at,
                "ended_at": now(),
                "wall_seconds": round(state.wall_seconds, 3),
                "train_images_per_second": float(np.median([row["images_per_second"] for row in state.epochs])),
            },
            environment={
                **session_environment(self.device, self.threads, state.trained_on),
                "compiled": self.settings.compile,
                "shared": dict(state.shared) or None,
            },
        )
        self.writer.wait()
        save_weights(self.directory, self.trainer.model)
        write_record(self.directory, record, state.epochs, state.layers)
        delete_checkpoint(self.directory)
        self.snapshots.delete_unneeded()
        return record
