"""Clips, schedules and the optimiser, against formulas, torch and the authors' published learning rates."""

import csv
import itertools
import math
from importlib import resources
from typing import Any

import pytest
import torch

from repro.config import Config, Plan
from repro.config.registry import OPTIMIZERS, SCHEDULES
from repro.config.schedules import rate_factors, zero_rate_epoch
from repro.optim import WeightClip, clip_gradients


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_as_run_schedule_gives_the_authors_rates(dataset: str) -> None:
    """Cosine with T_max 100 run on to epoch 150, in both logs."""
    text = resources.files("repro.paper").joinpath(f"authors_log_{dataset}.csv").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    assert len(rows) == 150
    for row in rows:
        rate = 1e-3 * SCHEDULES["cosine"](int(row["epoch"]) - 1, t_max=100)
        assert rate == pytest.approx(float(row["lr"]), abs=6e-7)


def test_real_restarts_return_to_the_start() -> None:
    restarts = SCHEDULES["cosine_restarts"]
    assert restarts(0, period=100) == restarts(100, period=100) == 1.0
    assert restarts(50, period=100) == restarts(150, period=100) == pytest.approx(0.5)
    assert restarts(99, period=100) < 1e-3
    assert SCHEDULES["constant"](7) == 1.0


def test_cycles_that_grow() -> None:
    """10, 20, 40 and 80 epochs: each starts at 1, and at the same share of a cycle the factor is the same."""
    factor = SCHEDULES["cosine_restarts"]
    starts = (0, 10, 30, 70)
    for start, length in zip(starts, (10, 20, 40, 80), strict=True):
        assert factor(start, period=10, multiplier=2) == 1.0
        assert factor(start + length / 2, period=10, multiplier=2) == pytest.approx(0.5)
        assert factor(start + length - 1e-3, period=10, multiplier=2) < 1e-6
    assert [factor(epoch, 50, 1.0) for epoch in range(150)] == [factor(epoch, 50) for epoch in range(150)]


def test_shortened_cycles_keep_their_shape(config: Config) -> None:
    spec = Plan(config, "short").run("schedule_cycles_growing_cifar10", 0).spec
    shares = rate_factors(spec)
    whole = rate_factors(Plan(config, "paper").run("schedule_cycles_growing_cifar10", 0).spec)
    assert shares == pytest.approx([SCHEDULES["cosine_restarts"](e * 150 / 9, 10, 2) for e in range(9)])
    assert sum(rise > 0.9 for rise in (b - a for a, b in itertools.pairwise(whole))) == 3


def test_linear_never_rises_and_ends_at_zero() -> None:
    factors = [SCHEDULES["linear"](epoch, t_max=8) for epoch in range(10)]
    assert factors == [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0, 0]


@pytest.mark.parametrize(("t_max", "rise"), [(10, 0.3), (150, 0.3), (20, 0.45), (9.0, 0.3)])
def test_one_cycle_is_torchs(t_max: float, rise: float) -> None:
    """torch counts steps from the first to the last, so that its total is one more and its peak a step earlier."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    total = int(t_max) + 1
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, pct_start=(rise * t_max + 1) / total, cycle_momentum=False
    )
    for epoch in range(total):
        assert SCHEDULES["one_cycle"](epoch, t_max, rise) == pytest.approx(
            schedule.get_last_lr()[0], rel=1e-6, abs=1e-9
        )
        optimizer.step()
        if epoch < total - 1:
            schedule.step()


def test_sgd_is_the_textbook_s() -> None:
    """v <- m v + g + d w; w <- w - r v, or by r (g + d w + m v) with Nesterov's look ahead."""
    for nesterov in (False, True):
        weight = torch.nn.Parameter(torch.tensor([2.0]))
        optimizer = OPTIMIZERS["sgd"]([weight], learning_rate=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
        by_hand, velocity = 2.0, 0.0
        for gradient in (1.0, -0.5, 0.25):
            weight.grad = torch.tensor([gradient])
            optimizer.step()
            step = gradient + 0.01 * by_hand
            velocity = 0.9 * velocity + step
            by_hand -= 0.1 * (step + 0.9 * velocity if nesterov else velocity)
            assert weight.item() == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ({"name": "cosine", "t_max": 100.0}, 150, 100),
        ({"name": "cosine", "t_max": 100.0}, 101, 100),
        ({"name": "cosine", "t_max": 100.0}, 100, None),  # it ends there: its last weights are those
        ({"name": "cosine", "t_max": 100.0}, 6, None),
        ({"name": "cosine", "t_max": 6.000000000000001}, 9, 6),
        ({"name": "cosine", "t_max": 2.1}, 9, None),  # between two epochs
        ({"name": "cosine_restarts", "period": 100.0}, 150, None),  # back to 1 where it would be 0
        ({"name": "constant"}, 150, None),
    ],
)
def test_where_the_rate_is_zero(schedule: dict[str, Any], epochs: int, expected: int | None) -> None:
    assert zero_rate_epoch({"schedule": schedule, "epochs": epochs}) == expected


@pytest.mark.parametrize(("scale", "epoch"), [("smoke", 2), ("quick", 8), ("short", 6), ("paper_bf16", 100)])
def test_the_main_run_has_such_an_epoch_at_every_scale(config: Config, scale: str, epoch: int) -> None:
    assert zero_rate_epoch(Plan(config, scale).run("main_cifar10", 0).spec) == epoch


def test_tanh_clip_is_equation_9_and_adds_up_its_shrink() -> None:
    weight = torch.linspace(-4, 4, 101)
    original = weight.clone()
    clip = WeightClip([weight], "tanh", bound=3.0)
    clip.step()
    once = 3 * torch.tanh(original / 3)
    assert torch.allclose(weight, once, atol=1e-6)
    clip.step()
    twice = 3 * torch.tanh(once / 3)
    assert torch.allclose(clip.moved[0], (original - twice).abs(), atol=1e-5)
    clip.reset()
    assert clip.moved[0].count_nonzero() == 0


def test_tanh_clip_shrinks_with_the_cube() -> None:
    weight = torch.tensor([0.3])
    WeightClip([weight], "tanh", bound=3.0).step()
    assert 0.3 - weight.item() == pytest.approx(0.3**3 / 27, rel=0.02)


def test_hard_clip_does_nothing_inside_the_bound() -> None:
    weight = torch.randn(1000)
    before = weight.clone()
    clip = WeightClip([weight], "hard", bound=3.0 + before.abs().max().item())
    clip.step()
    assert torch.equal(weight, before)
    outside = torch.tensor([-5.0, 5.0])
    WeightClip([outside], "hard", bound=3.0).step()
    assert outside.tolist() == [-3.0, 3.0]


def test_no_weight_clip_is_off() -> None:
    weight = torch.tensor([5.0])
    WeightClip([weight], "none").step()
    assert weight.item() == 5.0


@pytest.mark.parametrize("max_norm", [0.5, 1e6, None])
def test_clip_gradients_as_torch_does(max_norm: float | None) -> None:
    gradients = [torch.randn(30, 20), torch.randn(7)]
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    expected_norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm or math.inf)
    norm = clip_gradients(gradients, max_norm)
    assert torch.allclose(norm, expected_norm)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient)
    if max_norm == 0.5:
        assert math.sqrt(sum(g.square().sum().item() for g in gradients)) == pytest.approx(0.5, rel=1e-4)


def test_adamw_decays_every_parameter_and_equals_torchs_plain_loop() -> None:
    options = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 5e-4}
    ours, theirs = torch.nn.Parameter(torch.ones(5)), torch.nn.Parameter(torch.ones(5))
    fused = OPTIMIZERS["adamw"]([ours], **options)
    plain = torch.optim.AdamW([theirs], lr=1e-3, betas=(0.9, 0.999), weight_decay=5e-4, foreach=False)
    for step in range(10):
        ours.grad = torch.full((5,), 0.1 * step)
        theirs.grad = ours.grad.clone()
        fused.step()
        plain.step()
    assert torch.allclose(ours, theirs, atol=1e-6)
