"""The whole recipe against an independent loop, written from the paper and the evidence without the core's code."""

import math

import pytest
import torch
import torch.nn.functional as F

from repro.data import load_dataset
from repro.train.seeds import derive_seed
from repro.train.trainer import Interrupted, Trainer

SPEC = {
    "dataset": {"name": "digits10"},
    "model": {"name": "vgg", "width": 0.125, "dropout": 0.5},
    "quantizer": {"name": "absmax", "bit_width": 4},
    "optimizer": {"name": "adamw", "learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 5e-4},
    "gradient_clip": 0.5,
    "weight_clip": {"name": "tanh", "bound": 3.0},
    "schedule": {"name": "cosine", "t_max": 4.0},
    "epochs": 6,
    "batch_size": 100,
    "precision": "fp32",
}
CONVOLUTIONS = [f"conv{i}" for i in range(1, 7)]


class PlainLoop:
    """NCHW, functional layers, W + (Q(W) - W).detach(), torch's own gradient clip and plain AdamW."""

    def __init__(self, state: dict[str, torch.Tensor], quantized: bool) -> None:
        self.quantized = quantized
        self.p = {
            name.removeprefix("layers."): tensor.clone().contiguous().requires_grad_(tensor.is_floating_point())
            for name, tensor in state.items()
            if "running" not in name and "num_batches" not in name
        }
        self.optimizer = torch.optim.AdamW(self.p.values(), lr=1e-3, weight_decay=5e-4, foreach=False)

    def weight(self, name: str) -> torch.Tensor:
        weight = self.p[f"{name}.weight"]
        if not self.quantized:
            return weight
        scale = (weight.detach().abs().max() + 1e-8) / 7
        return weight + (torch.clamp(torch.round(weight / scale), -7, 7) * scale - weight).detach()

    def normalize(self, x: torch.Tensor, index: int) -> torch.Tensor:
        name = f"bn{index}"
        return F.batch_norm(x, None, None, self.p[f"{name}.weight"], self.p[f"{name}.bias"], training=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, name in enumerate(CONVOLUTIONS, start=1):
            x = F.conv2d(x, self.weight(name), self.p[f"{name}.bias"], padding=1)
            x = F.relu(self.normalize(x, index))
            if index % 2 == 0:
                x = F.max_pool2d(x, 2)
        x = F.linear(x.flatten(1), self.weight("fc1"), self.p["fc1.bias"])
        x = F.dropout(F.relu(self.normalize(x, 7)), 0.5)
        return F.linear(x, self.weight("fc2"), self.p["fc2.bias"])

    def step(self, images: torch.Tensor, labels: torch.Tensor, rate: float, clip: bool, soft: bool) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.forward(images), labels)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(self.p.values(), 0.5)
        self.optimizer.step()
        if soft:
            with torch.no_grad():
                for parameter in self.p.values():
                    if parameter.dim() >= 2:
                        parameter.copy_(3 * torch.tanh(parameter / 3))
        return loss.item()


@pytest.mark.parametrize(
    ("changes", "quantized", "clip", "soft", "same"),
    [
        ({}, True, True, True, True),
        ({"quantizer": {"name": "none"}}, False, True, True, True),
        ({"gradient_clip": None, "weight_clip": {"name": "none"}}, True, False, False, True),
        ({}, True, True, False, False),
        ({}, True, False, True, False),
        ({}, False, True, True, False),
    ],
    ids=["main", "fp32", "standard_adamw", "forgets tanh", "forgets gradient clip", "forgets quantiser"],
)
def test_core_equals_the_plain_loop_over_16_steps(
    changes: dict[str, object], quantized: bool, clip: bool, soft: bool, same: bool
) -> None:
    """From the same weights and batches; a plain loop that forgets one rule shows that the comparison would see it.

    In float64, since Adam's first steps turn the rounding noise of a vanishing gradient into whole steps.
    """
    torch.set_num_threads(1)
    data = load_dataset("digits10", train_images=800)
    trainer = Trainer({**SPEC, **changes}, 0, data, torch.device("cpu"))
    trainer.model.double()
    plain = PlainLoop(trainer.model.state_dict(), quantized)
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = trainer._batch

    def batch(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = original(*arguments)
        batches.append((images.double(), labels))
        return batches[-1]

    trainer._batch = batch

    core_losses, plain_losses = [], []
    for epoch in range(1, 3):
        batches.clear()
        before = 0.0

        def note(step: int, steps: int) -> bool:
            nonlocal before
            total = trainer._sums["loss"].item()
            core_losses.append((total - before) / 100)
            before = total
            return False

        trainer.train_epoch(note)
        rate = 1e-3 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / 4))
        torch.manual_seed(derive_seed(0, "dropout", epoch))
        plain_losses += [plain.step(images.contiguous(), labels, rate, clip, soft) for images, labels in batches]

    assert len(core_losses) == 16
    assert (core_losses == pytest.approx(plain_losses, abs=1e-4)) == same
    assert core_losses[-1] < 0.8 * core_losses[0], "and it learns"


def test_interrupted_is_raised_between_steps_only() -> None:
    data = load_dataset("digits10", train_images=200)
    trainer = Trainer(SPEC, 0, data, torch.device("cpu"))
    with pytest.raises(Interrupted):
        trainer.train_epoch(lambda step, steps: True)
    assert (trainer.epochs_done, trainer.steps_done) == (0, 1)
    trainer.train_epoch(lambda step, steps: True)  # the last step of the epoch ends it all the same
    assert (trainer.epochs_done, trainer.steps_done) == (1, 0)
