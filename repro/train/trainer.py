"""The one training loop that serves every experiment; FP32 is the absence of a quantiser."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from repro.data import ImageData, Split
from repro.data.augment import AugmentationDraw, crop_and_flip, draw_augmentation, normalize
from repro.optim import OPTIMIZERS, SCHEDULES, WeightClip, clip_gradients
from repro.quant import quant_layers
from repro.train.build import build_model, split_options
from repro.train.device import autocast
from repro.train.seeds import derive_seed

EVALUATION_BATCH = 500


class Interrupted(Exception):  # noqa: N818  (not an error: someone asked the run to stop)
    """The run was asked to stop; the trainer's state is at a step's boundary and can be saved."""


def _loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross entropy without label smoothing, never in bfloat16."""
    return cross_entropy(logits.float() if logits.dtype == torch.bfloat16 else logits, labels, reduction=reduction)


class Trainer:
    """Model, optimiser and data of one run, and the state to continue it from any step.

    Attributes:
        model: The model, quantisers attached.
        epochs_done: Completed epochs.
        steps_done: Completed steps of the epoch under way; 0 between epochs.
    """

    def __init__(self, spec: Mapping[str, Any], seed: int, data: ImageData, device: torch.device) -> None:
        """Build everything from the resolved experiment; weights are drawn on the CPU, whatever the device."""
        self.spec, self.seed, self.data, self.device = spec, seed, data, device
        torch.manual_seed(derive_seed(seed, "weights"))
        self.model = build_model(spec, data.classes)
        self.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]
        name, options = split_options(spec["optimizer"])
        self._base_rate = options["learning_rate"]
        self.optimizer = OPTIMIZERS[name](self._parameters, **options)
        name, options = split_options(spec["weight_clip"])
        self.weight_clip = WeightClip([layer.weight for layer in quant_layers(self.model).values()], name, **options)
        self._mean, self._std = torch.tensor(data.mean, device=device), torch.tensor(data.std, device=device)
        self._images, self._labels = data.train.images.to(device), data.train.labels.to(device)
        self.epochs_done = 0
        self.steps_done = 0
        self._sums = self._zero_sums()

    @property
    def batches(self) -> list[tuple[int, int]]:
        """Start and end of each batch. The last short one is kept, but a lone image, which batch
        norm cannot normalise, joins the batch before it.
        """  # noqa: D205
        count, size = len(self._labels), self.spec["batch_size"]
        starts = list(range(0, count, size))
        if count % size == 1 and len(starts) > 1:
            starts.pop()
        return list(zip(starts, [*starts[1:], count], strict=True))

    def learning_rate(self) -> float:
        """Rate of the epoch that comes next."""
        name, options = split_options(self.spec["schedule"])
        return float(self._base_rate * SCHEDULES[name](self.epochs_done, **options))

    def train_epoch(self, after_step: Callable[[int, int], bool] = lambda step, steps: False) -> dict[str, float]:
        """Train one epoch, or the rest of one.

        Args:
            after_step: Called with steps done and steps in all after each; true asks to stop.

        Returns:
            ``learning_rate``, ``train_loss``, ``train_accuracy`` (both running, in training mode),
            ``gradient_norm`` (mean before clipping) and ``clipped_share`` of the epoch.

        Raises:
            Interrupted: If ``after_step`` asked to stop before the last step.
        """
        epoch, batches, rate = self.epochs_done + 1, self.batches, self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        draw = draw_augmentation(
            len(self._labels),
            self.data.crop_padding,
            self.data.flip,
            derive_seed(self.seed, "augmentation", epoch),
            self.device,
        )
        if self.steps_done == 0:
            self._sums = self._zero_sums()
            self.weight_clip.reset()
            torch.manual_seed(derive_seed(self.seed, "dropout", epoch))
        self.model.train()
        for start, end in batches[self.steps_done :]:
            self._step(*self._batch(draw, start, end))
            self.steps_done += 1
            if after_step(self.steps_done, len(batches)) and self.steps_done < len(batches):
                raise Interrupted
        self.epochs_done, self.steps_done = epoch, 0
        return {"learning_rate": rate, **self._means(len(batches))}

    @torch.inference_mode()
    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss in nats and accuracy as a fraction, in evaluation mode."""
        self.model.eval()
        loss, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for start in range(0, len(split.labels), EVALUATION_BATCH):
            labels = split.labels[start : start + EVALUATION_BATCH].to(self.device)
            images = split.images[start : start + EVALUATION_BATCH].to(self.device)
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
            "generator": torch.get_rng_state(),
            "device_generator": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state()``; the generators matter only in the middle of an epoch."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epochs_done, self.steps_done = state["epochs_done"], state["steps_done"]
        self._sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        torch._foreach_copy_(self.weight_clip.moved, [tensor.to(self.device) for tensor in state["moved"]])
        torch.set_rng_state(state["generator"].cpu())
        if state["device_generator"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["device_generator"].cpu(), self.device)

    def _batch(self, draw: AugmentationDraw, start: int, end: int) -> tuple[Tensor, Tensor]:
        chosen = draw.order[start:end]
        images = crop_and_flip(
            self._images[chosen],
            draw.top[start:end],
            draw.left[start:end],
            draw.flip[start:end],
            self.data.crop_padding,
        )
        return normalize(images, self._mean, self._std), self._labels[chosen]

    def _step(self, images: Tensor, labels: Tensor) -> None:
        """Forward, backward, gradient clip, AdamW, weight clip: the order of figure 1 as it was run."""
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.spec["precision"]):
            logits = self.model(images)
        loss = _loss(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = clip_gradients(gradients, self.spec["gradient_clip"])
        self.optimizer.step()
        self.weight_clip.step()
        with torch.no_grad():  # sums stay on the device: no synchronisation inside an epoch
            self._sums["loss"] += loss.detach() * len(labels)
            self._sums["correct"] += (logits.argmax(1) == labels).sum()
            self._sums["norm"] += norm
            if self.spec["gradient_clip"] is not None:
                self._sums["clipped"] += norm > self.spec["gradient_clip"]

    def _zero_sums(self) -> dict[str, Tensor]:
        return {
            name: torch.zeros((), dtype=torch.float64, device=self.device)
            for name in ("loss", "correct", "norm", "clipped")
        }

    def _means(self, steps: int) -> dict[str, float]:
        sums = {name: value.item() for name, value in self._sums.items()}
        return {
            "train_loss": sums["loss"] / len(self._labels),
            "train_accuracy": sums["correct"] / len(self._labels),
            "gradient_norm": sums["norm"] / steps,
            "clipped_share": sums["clipped"] / steps,
        }
