"""Checkpoints: sealed, replaced atomically, bound to the setting they were made in; the one before is kept too."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from repro.config.runs import WEIGHTS_NAME
from repro.errors import ReproError
from repro.records import CHECKPOINT_NAME, FORMER_CHECKPOINT_NAME, StorageError, atomic_write
from repro.records.integrity import DamagedError
from repro.train.files import dump, load

logger = logging.getLogger(__name__)


class ResumeError(ReproError):
    """A checkpoint cannot be continued here without changing the run's numbers."""


class UnfitError(Exception):
    """A state on disk cannot be gone on from; says why, and what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.advice = advice


@dataclass
class Checkpoint:
    """Where a run stands. A field that is added later has a default, so that older files load.

    Attributes:
        setting: What fixes the bits besides the spec: spec hash, seed, device type, threads.
        trainer: ``Trainer.state()``.
        epochs: Rows of ``epochs.csv`` so far.
        layers: Rows of ``layers.csv`` so far.
        wall_seconds: Training and evaluation so far, over all resumptions.
        partial_seconds: Part of the above spent in an unfinished epoch.
        started_at: When the run first started, ISO 8601.
        trained_on: Torch version and processor or GPU of every part of the run, each once: another one is
            allowed to go on, and may change the last bits.
        shared: Where the first epochs came from, if another run trained them: ``from`` (its key), ``epochs`` and
            their ``wall_seconds``, all counted above; empty otherwise.
    """

    setting: Mapping[str, Any]
    started_at: str
    trainer: Mapping[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    wall_seconds: float = 0.0
    partial_seconds: float = 0.0
    trained_on: list[str] = field(default_factory=list)
    shared: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path, former: Path | None = None) -> None:
        """Replace the file atomically; what it was before is kept as ``former``, if that is given.

        Raises:
            StorageError: If it cannot be written; what stood there before still stands.
        """
        atomic_write(path, dump(vars(self)), former)


# Holds a state against the run that is to go on from it; raises ``DamagedError`` where it cannot be its own.
Check = Callable[[Checkpoint], None]


class CheckpointWriter:
    """Writes checkpoints in a thread of its own, so that training goes on meanwhile; one at a time."""

    def __init__(self, directory: Path) -> None:
        """Write to ``directory``."""
        self._directory = directory
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None
        self._last = -math.inf

    def save(self, checkpoint: Checkpoint, at_least_every: float = 0.0) -> None:
        """Copy the state and begin to write it, unless the last began less than ``at_least_every`` seconds ago.

        Raises:
            StorageError: If the checkpoint before this could not be written; the one before that still stands.
        """
        if time.monotonic() - self._last < at_least_every:
            return
        self.wait()
        self._last = time.monotonic()
        path, former = self._directory / CHECKPOINT_NAME, self._directory / FORMER_CHECKPOINT_NAME
        self._written = self._thread.submit(_host_copy(checkpoint).save, path, former)

    def keep(self, snapshot: Checkpoint, path: Path) -> None:
        """Copy a state and begin to write it elsewhere; where that fails, a warning says so.

        Raises:
            StorageError: If the checkpoint before this could not be written.
        """
        self.wait()
        self._written = self._thread.submit(_save_or_warn, _host_copy(snapshot), path)

    def wait(self) -> None:
        """Return when everything is on disk.

        Raises:
            StorageError: If it could not be written.
        """
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def close(self) -> None:
        """End the thread, when it has written what it has; for errors, call ``wait`` first."""
        self._thread.shutdown()


def _host_copy(checkpoint: Checkpoint) -> Checkpoint:
    """A copy on the CPU that training can no longer change."""
    copied = tree_map_only(torch.Tensor, lambda tensor: tensor.detach().to("cpu", copy=True), vars(checkpoint))
    return Checkpoint(**copied)


def _save_or_warn(snapshot: Checkpoint, path: Path) -> None:
    try:
        snapshot.save(path)
    except StorageError as error:
        logger.warning("%s. The run itself goes on.", error)


def load_checkpoint(directory: Path, setting: Mapping[str, Any], check: Check) -> Checkpoint | None:
    """The run's checkpoint, or ``None`` where there is none. From a damaged one the run goes back to the one before.

    Raises:
        ResumeError: If both are damaged, or it was made with other threads or on another kind of device.
    """
    path, former = directory / CHECKPOINT_NAME, directory / FORMER_CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        return read_checkpoint(path, setting, check)
    except UnfitError as error:
        raise ResumeError(f"{path}: {error}; {error.advice}") from None
    except DamagedError as error:
        try:
            checkpoint = read_checkpoint(former, setting, check)
        except (FileNotFoundError, DamagedError, UnfitError):
            raise ResumeError(f"{path}: {error}; delete it to start over") from None
        logger.warning("%s: %s. Going on from the one before, after epoch %d.", path, error, len(checkpoint.epochs))
        former.replace(path)  # or the next save would keep the damaged one in its place
        return checkpoint


def read_checkpoint(path: Path, setting: Mapping[str, Any], check: Check) -> Checkpoint:
    """The state in a file.

    Raises:
        FileNotFoundError: If there is none.
        DamagedError: If it is not whole, or not a state of the run.
        UnfitError: If it was made in another setting.
    """
    content = load(path)
    if not isinstance(content, dict) or not isinstance(content.get("setting"), Mapping):
        raise DamagedError("not a checkpoint")
    try:
        checkpoint = Checkpoint(**content)
    except TypeError:
        raise DamagedError("not a checkpoint, or one of a newer version of the suite") from None
    different = [key for key in setting if checkpoint.setting.get(key) != setting[key]]
    if different:
        was = ", ".join(f"{key} {checkpoint.setting.get(key)!r}" for key in different)
        now = ", ".join(f"{key} {setting[key]!r}" for key in different)
        reason = f"made with {was}; this run has {now}, which would change its bits"
        raise UnfitError(reason, "go on with the former setting, or delete it to start over")
    check(checkpoint)
    return checkpoint


def save_weights(directory: Path, model: nn.Module, name: str = WEIGHTS_NAME) -> None:
    """Keep a run's weights: at its end, when the record no longer needs the checkpoint, or where its rate is zero."""
    atomic_write(directory / name, dump(model.state_dict()))


def delete_checkpoint(directory: Path) -> None:
    """Prune a finished run to its weights."""
    for name in (CHECKPOINT_NAME, FORMER_CHECKPOINT_NAME):
        (directory / name).unlink(missing_ok=True)
