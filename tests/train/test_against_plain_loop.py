"""The whole recipe against an independent loop, written from the paper and the authors' log without the core's code."""

import math

import pytest
import torch

from repro.config import complete_spec
from repro.data import load_dataset
from repro.train.seeds import derive_seed
from repro.train.trainer import Trainer
from tests.train.plain_loop import PlainLoop

SPEC = complete_spec(
    {
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
)


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
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []
    core_losses, plain_losses = [], []

    def note(part: str, made: dict[str, torch.Tensor]) -> None:
        if part == "batch":
            batches.append((made["images"].double(), made["labels"]))
        elif part == "backward":
            core_losses.append(made["loss"].item())

    trainer = Trainer({**SPEC, **changes}, 0, data, torch.device("cpu"), observer=note)
    trainer.model.double()
    trainer.model.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
    plain = PlainLoop(trainer.model.state_dict(), quantized)
    for epoch in range(1, 3):
        batches.clear()
        trainer.train_epoch()
        rate = 1e-3 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / 4))
        torch.manual_seed(derive_seed(0, "dropout", epoch))
        plain_losses += [plain.step(images.contiguous(), labels, rate, clip, soft) for images, labels in batches]

    assert len(core_losses) == 16
    assert (core_losses == pytest.approx(plain_losses, abs=1e-4)) == same
    assert core_losses[-1] < 0.8 * core_losses[0], "and it learns"


def test_an_epoch_can_pause_after_any_step() -> None:
    data = load_dataset("digits10", train_images=200)
    trainer = Trainer(SPEC, 0, data, torch.device("cpu"))
    next(trainer.steps())
    assert (trainer.epochs_done, trainer.steps_done) == (0, 1)
    trainer.train_epoch()
    assert (trainer.epochs_done, trainer.steps_done) == (1, 0)
