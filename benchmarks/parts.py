"""Where an epoch's time goes: the trainer's own step with a stamp after each part, and what comes once an epoch."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch

from benchmarks.clock import now
from repro import optim
from repro.config import Spec
from repro.data import ImageData
from repro.records import write_progress
from repro.train import Trainer
from repro.train import trainer as trainer_module
from repro.train.checkpoint import Checkpoint, CheckpointWriter
from repro.train.measure import layer_rows

STEP_PARTS = ("data and augmentation", "forward", "backward", "optimiser with clips", "metrics")
OVERHEAD = ("data and augmentation", "optimiser with clips", "metrics", "logging", "checkpoint")


class Stamped(Trainer):
    """The trainer, with the seconds of each part of its step in ``seconds``; replays no graph."""

    def __init__(self, spec: Spec, seed: int, data: ImageData, device: torch.device) -> None:
        """As ``Trainer``."""
        super().__init__(spec, seed, data, device)
        self.seconds: dict[str, list[float]] = {part: [] for part in STEP_PARTS}
        self._last = 0.0
        self.model.register_forward_hook(lambda *_: self._stamp("forward"))

    def _stamp(self, part: str) -> None:
        time = now(self.device)
        self.seconds[part].append(time - self._last)
        self._last = time

    def _batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self._last = now(self.device)
        batch = super()._batch(rows)
        self._stamp("data and augmentation")
        return batch

    def _count(self, *arguments: torch.Tensor) -> None:
        self._stamp("optimiser with clips")
        super()._count(*arguments)
        self._stamp("metrics")

    def steps(self, count: int) -> None:
        """Train so many steps, each stamped."""

        def stamped(update: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
            def call(*arguments: Any) -> torch.Tensor:
                self._stamp("backward")
                return update(*arguments)

            return call

        with (
            mock.patch.object(trainer_module, "clip_gradients", stamped(optim.clip_gradients)),
            mock.patch.object(self._fused_update, "step", stamped(self._fused_update.step)),
        ):
            for _ in range(count):
                self.train_step()


def epoch_parts(spec: Spec, data: ImageData, steps: int, rounds: int) -> dict[str, float]:
    """Seconds of an epoch by part: medians over steps and rounds, times the steps of an epoch.

    Args:
        spec: The resolved experiment.
        data: Real CIFAR-10.
        steps: Timed steps.
        rounds: Repetitions of what comes once an epoch.
    """
    trainer = Stamped(spec, 0, data, torch.device("cpu"))
    trainer.start_epoch()
    trainer.steps(3)
    for stamps in trainer.seconds.values():
        stamps.clear()
    trainer.steps(steps)
    parts = {part: median(stamps) * len(trainer.batches) for part, stamps in trainer.seconds.items()}
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
