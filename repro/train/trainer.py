"""The one training loop that serves every experiment; FP32 is the absence of a quantiser."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from repro.config.registry import SCHEDULES
from repro.config.spec import Spec, split_options
from repro.data import ImageData, Split
from repro.data.augment import AugmentationDraw, crop_and_flip, draw_augmentation, normalize
from repro.models.dropout import share_generator
from repro.optim import FusedUpdate, WeightClip, clip_gradients, load_optimizer, set_learning_rate
from repro.quant import quant_layers
from repro.quant.oscillation import OscillationWatch
from repro.train.build import build_model, build_optimizer
from repro.train.device import autocast, set_matmul_precision
from repro.train.evaluation import batch_logits, batch_loss, score
from repro.train.graph import Capture, CudaCapture, StepGraph
from repro.train.seeds import derive_seed

# Hears of each part of a step when it is done, with the tensors that it made.
Observer = Callable[[str, Mapping[str, Tensor]], None]


class Trainer:
    """Model, optimiser and data of one run, and the state to continue it from any step.

    An epoch is all of ``steps`` and ``finish_epoch``, so that one process can take the steps of several runs in
    turns; ``train_epoch`` is both.

    Attributes:
        model: The model, quantisers attached.
        batches: Start and end of each batch. The last short one is kept, but a lone image, which
            batch norm cannot normalise, joins the batch before it.
        epochs_done: Completed epochs.
        steps_done: Completed steps of the epoch under way; 0 between epochs.
        oscillations: Counts weights whose codes go back and forth.
        watched: Epochs in which it does: the run's last, and the last of any run that takes its epochs from this one.
    """

    def __init__(
        self,
        spec: Spec,
        seed: int,
        data: ImageData,
        device: torch.device,
        weights: Mapping[str, Tensor] | None = None,
        *,
        observer: Observer | None = None,
        capture: Capture | None = None,
    ) -> None:
        """Build everything from the spec; weights are drawn on the CPU, whatever the device.

        Args:
            spec: The run's spec.
            seed: The run's seed.
            data: The run's data.
            device: Where to train.
            weights: With which a run with ``start_from`` begins, before its quantisers are attached.
            observer: Hears, in this order, of ``start``, ``batch`` (images, labels), ``forward`` (logits),
                ``backward`` (loss), ``update`` (norm) and ``count``.
            capture: Captures a step; by default CUDA's on a GPU, unless someone observes, and none on a CPU.
        """
        self.spec, self.seed, self.data, self.device = spec, seed, data.to(device), device
        torch.manual_seed(derive_seed(seed, "weights"))
        self.model = build_model(spec, data.classes, data.image_shape, weights)
        self.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._generator = torch.Generator(device)
        share_generator(self.model, self._generator)
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]
        self._base_rate = spec["optimizer"]["learning_rate"]
        self.optimizer = build_optimizer(spec, self._parameters)
        name, options = split_options(spec["weight_clip"])
        self.weight_clip = WeightClip([layer.weight for layer in quant_layers(self.model).values()], name, **options)
        self._fused_update = FusedUpdate(self.optimizer, self.weight_clip, self._parameters)
        self._mean, self._std = torch.tensor(data.mean, device=device), torch.tensor(data.std, device=device)
        self.oscillations = OscillationWatch(quant_layers(self.model).values())
        self.watched = {spec["epochs"]}
        self.epochs_done = self.steps_done = 0
        self.batches = _batches(len(data.train.labels), spec["batch_size"])
        self._draw = self._draw_epoch()
        self._observer = observer
        if capture is None and device.type == "cuda" and observer is None:
            capture = CudaCapture(device, self._generator)
        self._graph = StepGraph(self._train_rows, spec["batch_size"], device, capture)
        self._sums = {
            name: torch.zeros((), dtype=torch.float64, device=device) for name in ("loss", "correct", "norm", "clipped")
        }

    def learning_rate(self) -> float:
        """Rate of the epoch that comes next."""
        name, options = split_options(self.spec["schedule"])
        return float(self._base_rate * SCHEDULES[name](self.epochs_done, **options))

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch, or the rest of one; gives what ``finish_epoch`` does."""
        for _ in self.steps():
            pass
        return self.finish_epoch()

    def steps(self) -> Iterator[int]:
        """Train one epoch, or the rest of one, step by step; gives the steps done after each."""
        self.start_epoch()
        while self.steps_done < len(self.batches):
            self.train_step()
            yield self.steps_done

    def start_epoch(self) -> None:
        """Rate, sample order, crops and flips of the next epoch, or of the one under way after a resume."""
        set_learning_rate(self.optimizer, self.learning_rate())
        for layer in quant_layers(self.model).values():
            if layer.weight_quantizer is not None:
                layer.weight_quantizer.start_epoch(self.epochs_done)
        self._draw.copy_(self._draw_epoch())  # in place: a captured step reads these very tensors
        if self.steps_done == 0:
            for total in self._sums.values():
                total.zero_()
            self.weight_clip.reset()
            if self._watches():
                self.oscillations.restart()
            self._generator.manual_seed(derive_seed(self.seed, "dropout", self.epochs_done + 1))
        self.model.train()

    def train_step(self) -> None:
        """One batch: forward, backward, clips and update. Nothing waits for the device."""
        set_matmul_precision(self.device, self.spec["precision"])
        self._graph(*self.batches[self.steps_done])
        self.steps_done += 1
        if self._watches():
            self.oscillations.update()

    def _watches(self) -> bool:
        """Whether the epoch under way is one in which oscillations are counted."""
        return self.epochs_done + 1 in self.watched

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
        with autocast(self.device, self.spec["precision"]):
            return score(batch_logits(self.model, self.data, split), split.labels)

    def evaluate_splits(self) -> dict[str, float]:
        """``test_loss`` and ``test_accuracy``; the same of ``validation`` where images are held out."""
        figures = {}
        for name, split in (("test", self.data.test), ("validation", self.data.validation)):
            if split is not None:
                figures[f"{name}_loss"], figures[f"{name}_accuracy"] = self.evaluate(split)
        return figures

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
            # 6 bytes a weight, only in and after an epoch that counts them
            **({"oscillations": self.oscillations.state()} if self._has_watched() else {}),
        }

    def _has_watched(self) -> bool:
        return (self.epochs_done if not self.steps_done else self.epochs_done + 1) in self.watched

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state()``, before the first step; the generator matters only in the middle of an epoch."""
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.epochs_done, self.steps_done = state["epochs_done"], state["steps_done"]
        for name, value in state["sums"].items():
            self._sums[name].copy_(value)
        for moved, value in zip(self.weight_clip.moved, state["moved"], strict=True):
            moved.copy_(value)
        self._generator.set_state(state["generator"].cpu())
        if "oscillations" in state:  # absent in and after other epochs, and in older files
            self.oscillations.load(state["oscillations"])

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
        self._observe("start")
        images, labels = self._batch(rows)
        self._observe("batch", images=images, labels=labels)
        self._step(images, labels)

    def _batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        draw, train = self._draw, self.data.train
        chosen = draw.order[rows]
        images = crop_and_flip(
            train.images[chosen], draw.top[rows], draw.left[rows], draw.flip[rows], self.data.crop_padding
        )
        return normalize(images, self._mean, self._std), train.labels[chosen]

    def _step(self, images: Tensor, labels: Tensor) -> None:
        """Forward, backward, gradient clip, AdamW, weight clip: the order of figure 1, which the report reads here."""
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.spec["precision"]):
            logits = self.model(images)
        self._observe("forward", logits=logits)
        loss = batch_loss(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self._observe("backward", loss=loss)
        if self._fused_update.serves():
            norm = self._fused_update.step(self.spec["gradient_clip"])
        else:
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            norm = clip_gradients(gradients, self.spec["gradient_clip"])
            self.optimizer.step()
            self.weight_clip.step()
        self._observe("update", norm=norm)
        self._count(logits.detach(), labels, loss.detach(), norm)
        self._observe("count")

    def _observe(self, part: str, **made: Tensor) -> None:
        if self._observer is not None:
            self._observer(part, {name: tensor.detach() for name, tensor in made.items()})

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
