"""Where an epoch's time goes: the trainer's own step with a stamp after each part, and what comes once an epoch."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.clock import now
from repro.config import Spec
from repro.data import ImageData
from repro.records import write_progress
from repro.train import Trainer
from repro.train.checkpoint import Checkpoint, CheckpointWriter
from repro.train.measure import layer_rows

WARM_UP = 3  # steps
# What the trainer's observer hears of -> how it is named here
STEP_PARTS = {
    "batch": "data and augmentation",
    "forward": "forward",
    "backward": "backward",
    "update": "optimiser with clips",
    "count": "metrics",
}
OVERHEAD = ("data and augmentation", "optimiser with clips", "metrics", "logging", "checkpoint")


class Stamps:
    """Observes a trainer on a CPU: the seconds of each part of each step in ``seconds``."""

    def __init__(self) -> None:
        """Nothing observed yet."""
        self.seconds: dict[str, list[float]] = {part: [] for part in STEP_PARTS.values()}
        self._last = 0.0

    def __call__(self, part: str, made: Mapping[str, torch.Tensor]) -> None:
        """A part is done."""
        time = now(torch.device("cpu"))
        if part in STEP_PARTS:
            self.seconds[STEP_PARTS[part]].append(time - self._last)
        self._last = time


def epoch_parts(spec: Spec, data: ImageData, steps: int, rounds: int) -> dict[str, float]:
    """Seconds of an epoch by part: medians over steps and rounds, times the steps of an epoch.

    Args:
        spec: The resolved experiment.
        data: Real CIFAR-10.
        steps: Timed steps.
        rounds: Repetitions of what comes once an epoch.
    """
    stamps = Stamps()
    trainer = Trainer(spec, 0, data, torch.device("cpu"), observer=stamps)
    trainer.start_epoch()
    for _ in range(WARM_UP + steps):
        trainer.train_step()
    parts = {part: median(times[WARM_UP:]) * len(trainer.batches) for part, times in stamps.seconds.items()}
    parts["evaluation"] = _median(lambda: trainer.evaluate(trainer.data.test), 2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        writer = CheckpointWriter(folder)
        stack.callback(writer.close)
        rows: list[dict[str, Any]] = []

        def log() -> None:
            rows.extend(layer_rows(trainer.model, trainer.weight_clip.moved, 150))
            write_progress(folder, [], rows)

        rows.extend(layer_rows(trainer.model, trainer.weight_clip.moved, 1) * 150)  # as long as in the last epoch
        parts["logging"] = _median(log, rounds)
        checkpoint = Checkpoint(setting={}, started_at="", trainer=trainer.state())

        def save() -> None:
            writer.save(checkpoint)
            writer.wait()  # in a run it is written while the next epoch trains

        parts["checkpoint"] = _median(save, rounds)
    return parts


def _median(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = now()
        call()
        times.append(now() - start)
    return median(times)
