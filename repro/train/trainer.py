"""The one training loop that serves every experiment; FP32 is the absence of a quantiser."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from repro.config.registry import OPTIMIZERS, SCHEDULES
from repro.config.spec import Spec, split_options
from repro.data import ImageData, Split
from repro.data.augment import AugmentationDraw, crop_and_flip, draw_augmentation, normalize
from repro.models.dropout import share_generator
from repro.optim import FusedUpdate, WeightClip, clip_gradients, set_learning_rate
from repro.quant import quant_layers
from repro.train.build import build_model
from repro.train.device import autocast, set_matmul_precision
from repro.train.graph import StepGraph
from repro.train.seeds import derive_seed

EVALUATION_BATCH = {"cpu": 500, "cuda": 2500}  # images; on a GPU fewer and larger kernels


class Interrupted(Exception):  # noqa: N818  (not an error: someone asked the run to stop)
    """The run was asked to stop; the trainer's state is at a step's boundary and can be saved."""


def _loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross entropy without label smoothing, never in bfloat16."""
    return cross_entropy(logits.float() if logits.dtype == torch.bfloat16 else logits, labels, reduction=reduction)


class Trainer:
    """Model, optimiser and data of one run, and the state to continue it from any step.

    An epoch is ``start_epoch``, a ``train_step`` for each of ``batches``, and ``finish_epoch``, so that one
    process can take the steps of several runs in turns; ``train_epoch`` is all three.

    Attributes:
        model: The model, quantisers attached.
        batches: Start and end of each batch. The last short one is kept, but a lone image, which
            batch norm cannot normalise, joins the batch before it.
        epochs_done: Completed epochs.
        steps_done: Completed steps of the epoch under way; 0 between epochs.
    """

    def __init__(
        self,
        spec: Spec,
        seed: int,
        data: ImageData,
        device: torch.device,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build everything from the resolved experiment; weights are drawn on the CPU, whatever the device.

        ``weights`` are those that a run with ``start_from`` begins with, before its quantisers are attached.
        """
        self.spec, self.seed, self.data, self.device = spec, seed, data.to(device), device
        torch.manual_seed(derive_seed(seed, "weights"))
        self.model = build_model(spec, data.classes, data.image_shape, weights)
        self.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._generator = torch.Generator(device)
        share_generator(self.model, self._generator)
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]
        name, options = split_options(spec["optimizer"])
        self._base_rate = options["learning_rate"]
        self.optimizer = OPTIMIZERS[name](self._parameters, **options)
        name, options = split_options(spec["weight_clip"])
        self.weight_clip = WeightClip([layer.weight for layer in quant_layers(self.model).values()], name, **options)
        self._fused_update = FusedUpdate(self.optimizer, self.weight_clip, self._parameters)
        self._mean, self._std = torch.tensor(data.mean, device=device), torch.tensor(data.std, device=device)
        self.epochs_done = self.steps_done = 0
        self.batches = _batches(len(data.train.labels), spec["batch_size"])
        self._draw = self._draw_epoch()
        self._graph = StepGraph(self._train_rows, spec["batch_size"], device, self._generator)
        self._sums = {
            name: torch.zeros((), dtype=torch.float64, device=device) for name in ("loss", "correct", "norm", "clipped")
        }

    def learning_rate(self) -> float:
        """Rate of the epoch that comes next."""
        name, options = split_options(self.spec["schedule"])
        return float(self._base_rate * SCHEDULES[name](self.epochs_done, **options))

    def train_epoch(self, after_step: Callable[[int, int], bool] = lambda step, steps: False) -> dict[str, float]:
        """Train one epoch, or the rest of one.

        Args:
            after_step: Called with steps done and steps in all after each; true asks to stop.

        Returns:
            What ``finish_epoch`` does.

        Raises:
            Interrupted: If ``after_step`` asked to stop before the last step.
        """
        self.start_epoch()
        steps = len(self.batches)
        while self.steps_done < steps:
            self.train_step()
            if after_step(self.steps_done, steps) and self.steps_done < steps:
                raise Interrupted
        return self.finish_epoch()

    def start_epoch(self) -> None:
        """Rate, sample order, crops and flips of the next epoch, or of the one under way after a resume."""
        set_learning_rate(self.optimizer, self.learning_rate())
        self._draw.copy_(self._draw_epoch())  # in place: a captured step reads these very tensors
        if self.steps_done == 0:
            for total in self._sums.values():
                total.zero_()
            self.weight_clip.reset()
            self._generator.manual_seed(derive_seed(self.seed, "dropout", self.epochs_done + 1))
        self.model.train()

    def train_step(self) -> None:
        """One batch: forward, backward, clips and update. Nothing waits for the device."""
        set_matmul_precision(self.device, self.spec["precision"])
        self._graph(*self.batches[self.steps_done])
        self.steps_done += 1

    def finish_epoch(self) -> dict[str, float]:
        """Close the epoch.

        Returns:
            ``learning_rate``, ``train_loss``, ``train_accuracy`` (both running, in training mode),
            ``gradient_norm`` (mean before clipping) and ``clipped_share`` of the epoch.
        """
        rate, images, steps = self.learning_rate(), len(self.data.train.labels), len(self.batches)
        self.epochs_done, self.steps_done = self.epochs_done + 1, 0
        sums = {name: value.item() for name, value in self._sums.items()}
        return {
            "learning_rate": rate,
            "train_loss": sums["loss"] / images,
            "train_accuracy": sums["correct"] / images,
            "gradient_norm": sums["norm"] / steps,
            "clipped_share": sums["clipped"] / steps,
        }

    @torch.inference_mode()
    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss in nats and accuracy as a fraction, in evaluation mode; ``split`` is one of ``data``."""
        self.model.eval()
        set_matmul_precision(self.device, self.spec["precision"])
        loss, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        size = EVALUATION_BATCH[self.device.type]
        for start in range(0, len(split.labels), size):
            images, labels = split.images[start : start + size], split.labels[start : start + size]
            with autocast(self.device, self.spec["precision"]):
                logits = self.model(normalize(images, self._mean, self._std))
            loss += _loss(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
        return loss.item() / len(split.labels), correct.item() / len(split.labels)

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs to go on bit for bit, also in the middle of an epoch."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epochs_done": self.epochs_done,
            "steps_done": self.steps_done,
            "sums": self._sums,
            "moved": self.weight_clip.moved,
            "generator": self._generator.get_state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state()``, before the first step; the generator matters only in the middle of an epoch."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epochs_done, self.steps_done = state["epochs_done"], state["steps_done"]
        for name, value in state["sums"].items():
            self._sums[name].copy_(value)
        for moved, value in zip(self.weight_clip.moved, state["moved"], strict=True):
            moved.copy_(value)
        self._generator.set_state(state["generator"].cpu())

    def _draw_epoch(self) -> AugmentationDraw:
        return draw_augmentation(
            len(self.data.train.labels),
            self.data.crop_padding,
            self.data.flip,
            derive_seed(self.seed, "augmentation", self.epochs_done + 1),
            self.device,
        )

    def _train_rows(self, rows: Tensor) -> None:
        """One step on the samples at ``rows`` (int64 [B]) of the epoch's order."""
        self._step(*self._batch(rows))

    def _batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        draw, train = self._draw, self.data.train
        chosen = draw.order[rows]
        images = crop_and_flip(
            train.images[chosen], draw.top[rows], draw.left[rows], draw.flip[rows], self.data.crop_padding
        )
        return normalize(images, self._mean, self._std), train.labels[chosen]

    def _step(self, images: Tensor, labels: Tensor) -> None:
        """Forward, backward, gradient clip, AdamW, weight clip: the order of figure 1 as it was run."""
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.spec["precision"]):
            logits = self.model(images)
        loss = _loss(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._fused_update.serves():
            norm = self._fused_update.step(self.spec["gradient_clip"])
        else:
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            norm = clip_gradients(gradients, self.spec["gradient_clip"])
            self.optimizer.step()
            self.weight_clip.step()
        self._count(logits.detach(), labels, loss.detach(), norm)

    def _count(self, logits: Tensor, labels: Tensor, loss: Tensor, norm: Tensor) -> None:
        """Add the step to the epoch's sums, which stay on the device."""
        self._sums["loss"] += loss * len(labels)
        self._sums["correct"] += (logits.argmax(1) == labels).sum()
        self._sums["norm"] += norm
        if self.spec["gradient_clip"] is not None:
            self._sums["clipped"] += norm > self.spec["gradient_clip"]


def _batches(images: int, size: int) -> list[tuple[int, int]]:
    starts = list(range(0, images, size))
    if images % size == 1 and len(starts) > 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], images], strict=True))
