"""Checkpoints: one file a run, replaced atomically, bound to the setting it was made in."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repro.config.runs import WEIGHTS_NAME
from repro.errors import ReproError
from repro.records import CHECKPOINT_NAME, atomic_write


class ResumeError(ReproError):
    """A checkpoint cannot be continued here without changing the run's numbers."""


@dataclass
class Checkpoint:
    """Where a run stands.

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
    """

    setting: Mapping[str, Any]
    started_at: str
    trainer: Mapping[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    wall_seconds: float = 0.0
    partial_seconds: float = 0.0
    trained_on: list[str] = field(default_factory=list)

    def save(self, directory: Path) -> None:
        """Replace the run's checkpoint atomically.

        Raises:
            StorageError: If it cannot be written; the checkpoint before it still stands.
        """
        atomic_write(directory / CHECKPOINT_NAME, _to_bytes(vars(self)))


def load_checkpoint(directory: Path, setting: Mapping[str, Any]) -> Checkpoint | None:
    """The run's checkpoint, or ``None`` where there is none.

    Raises:
        ResumeError: If it is damaged, or made with other threads or on another kind of device.
    """
    path = directory / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged file can fail anywhere in the unpickler
        raise ResumeError(f"{path}: damaged checkpoint ({type(error).__name__}); delete it to start over") from None
    different = [key for key in setting if checkpoint.setting.get(key) != setting[key]]
    if different:
        was = ", ".join(f"{key} {checkpoint.setting.get(key)!r}" for key in different)
        now = ", ".join(f"{key} {setting[key]!r}" for key in different)
        raise ResumeError(
            f"{path}: made with {was}; this run has {now}, which would change its bits. "
            "Go on with the former setting, or delete the checkpoint to start over."
        )
    return checkpoint


def save_weights(directory: Path, model: nn.Module) -> None:
    """Keep a finished run's weights; the checkpoint is no longer needed after the record is written."""
    atomic_write(directory / WEIGHTS_NAME, _to_bytes(model.state_dict()))


def delete_checkpoint(directory: Path) -> None:
    """Prune a finished run to its weights."""
    (directory / CHECKPOINT_NAME).unlink(missing_ok=True)


def _to_bytes(content: Any) -> bytes:
    # torch.save to a path turns a full disk into a RuntimeError without the cause, and is not atomic
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
