"""One run from its resolved experiment to its record: locked, resumable, never half written."""

import logging
import math
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from repro.config import Run
from repro.config.runs import ZERO_RATE_WEIGHTS_NAME
from repro.config.schedules import zero_rate_epoch
from repro.errors import ReproError
from repro.records import (
    CHECKPOINT_NAME,
    Record,
    delete_temporary_files,
    read_record,
    restore_record,
    write_progress,
    write_record,
)
from repro.records.integrity import DamagedError
from repro.train.assembly import assemble_record, make_trainer
from repro.train.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    delete_checkpoint,
    load_checkpoint,
    save_weights,
)
from repro.train.files import tensors_digest
from repro.train.kept import load_weights
from repro.train.lock import Interrupted as Interrupted  # used from here by others
from repro.train.lock import RunBusyError as RunBusyError
from repro.train.lock import only_writer
from repro.train.measure import count_flops, layer_rows, rounded
from repro.train.outcome import judge, summarize
from repro.train.progress import make_progress
from repro.train.resume import check_state
from repro.train.settings import Settings, Tracker
from repro.train.snapshots import Snapshots
from repro.train.start import load_start
from repro.train.surroundings import describe_place, end_of, now, session_environment

logger = logging.getLogger(__name__)


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
    with only_writer(directory, settings):
        record = finished_record(run, settings.results)
        if record is None:
            record = yield from _Training(run, settings, directory).train()
        return record


def finished_record(run: Run, results: Path) -> Record | None:
    """The run's record, restored from its copy where it was lost; where there is none, ``None`` and a tidy folder."""
    path, directory = run.record_path(results), run.directory(results)
    delete_temporary_files(directory)
    if not path.exists():
        if not restore_record(directory):
            return None
        logger.info("%s: restored, the run had finished; to make it again, delete its folder", path)
    record = read_record(path)
    if run.weights_path(results).exists():  # a process was killed between the record and its end
        delete_checkpoint(directory)
    return record


class _Training:
    """One process's share of one run."""

    def __init__(self, run: Run, settings: Settings, directory: Path) -> None:
        self.run, self.settings, self.directory = run, settings, directory
        under_way = (directory / CHECKPOINT_NAME).exists()
        weights = None if under_way else load_start(run, *settings.start_of(run))
        self.trainer, self.threads = make_trainer(run, settings, weights)
        self.device, self.data = self.trainer.device, self.trainer.data
        self.compute = count_flops(self.trainer.model, self.data.image_shape)
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
        label = f"{self.run.experiment} {self.run.scale} seed{self.run.seed}"
        self.progress.start(label, epochs, self.epochs_done, self.checkpoint.epochs)
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
        self.trainer.watched |= self.snapshots.ends
        check = partial(check_state, trainer=self.trainer)
        checkpoint = load_checkpoint(self.directory, setting, check)
        if checkpoint is None:
            snapshot = self.snapshots.take(check)
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
        for step in trainer.steps():
            self.progress.step(step, steps)
            if self.settings.stop() and step < steps:
                state.partial_seconds = before + time.perf_counter() - start
                self._save()
                self.writer.wait()
                raise Interrupted
            yield
        figures = trainer.finish_epoch()
        train_seconds = before + time.perf_counter() - start
        row: dict[str, Any] = {"epoch": self.epochs_done, **rounded(figures), **rounded(trainer.evaluate_splits())}
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

    def _keep_zero_rate_weights(self) -> None:
        if self.epochs_done == self.zero_rate_epoch and not self.trainer.steps_done:
            save_weights(self.directory, self.trainer.model, ZERO_RATE_WEIGHTS_NAME)

    def _zero_rate_digest(self) -> str | None:
        """Of the weights that were kept where the rate is zero; ``None`` where there are none, or none any more."""
        path = self.directory / ZERO_RATE_WEIGHTS_NAME
        try:
            return tensors_digest(load_weights(path))
        except FileNotFoundError:
            return None
        except DamagedError as error:
            logger.warning("%s: %s. It is deleted; the run itself goes on.", path, error)
            path.unlink()
            return None

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

    def _is_whole(self) -> bool:
        return self.epochs_done == self.run.spec["epochs"]

    def _broken(self) -> bool:
        """Whether the last epoch left no number to go on from."""
        return bool(self.checkpoint.epochs) and not math.isfinite(self.checkpoint.epochs[-1]["train_loss"])

    def _finish(self) -> Record:
        state, zero_rate = self.checkpoint, self._zero_rate_digest()
        record = assemble_record(
            self.run,
            self.settings.group,
            self.trainer,
            judged=judge(state.epochs, self.data.classes),
            summary={
                **summarize(state.epochs),
                "oscillating_share": self.trainer.oscillations.share() if self._is_whole() else None,
                "zero_rate_epoch": self.zero_rate_epoch if zero_rate else None,
                "zero_rate_weights_sha256": zero_rate,
            },
            compute=self.compute,
            timing={
                "started_at": state.started_at,
                "ended_at": end_of(state.started_at, state.wall_seconds),
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
