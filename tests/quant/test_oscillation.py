"""Oscillating weights: the count against a plain loop, and both remedies on the smallest network that oscillates."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from repro.config import Run
from repro.quant import QuantLinear, WeightQuantizer
from repro.quant.measures import code_entropy, condition_number
from repro.quant.oscillation import (
    MOMENTUM,
    OSCILLATES,
    DampenedQuantizer,
    FreezingQuantizer,
    Oscillations,
    OscillationWatch,
)
from repro.quant.uniform import AbsmaxQuantizer
from repro.train import Settings, train_run


def test_the_count_is_that_of_a_plain_loop() -> None:
    """Equations 6 and 7 for one weight at a time, on codes that wander, jump and rest."""
    steps = torch.randint(-1, 2, (60, 40), generator=torch.Generator().manual_seed(0)).cumsum(0).to(torch.int8)
    count = Oscillations(torch.zeros(40))
    for codes in steps:
        count.update(codes)
    for place in range(40):
        frequency, direction, before = 0.0, 0, int(steps[0, place])
        for code in steps[:, place].tolist():
            change = (code > before) - (code < before)
            frequency += MOMENTUM * ((change * direction == -1) - frequency)
            direction, before = change or direction, code
        assert count.frequency[place].item() == pytest.approx(frequency, abs=1e-6)
    assert 0 < count.frequency.mean() < 1


def regression(
    quantizer: Callable[[Tensor], WeightQuantizer], steps: int = 600
) -> tuple[QuantLinear, OscillationWatch]:
    """One weight whose best value lies between two levels, the toy of section 2.2; the other one fixes the scale.

    Straight-through gradient descent drives it to the boundary, and then over it and back for good.
    """
    layer = QuantLinear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.28, 0.7]]))
    layer.weight_quantizer = quantizer(layer.weight.detach())
    watch, target = OscillationWatch([layer]), torch.tensor([0.252, 0.7])
    for _ in range(steps):
        layer.zero_grad()
        output = layer(torch.eye(2)).flatten()
        (output - target).square().sum().backward()
        with torch.no_grad():
            layer.weight[0, 0] -= 0.02 * layer.weight.grad[0, 0]
        watch.update()
    return layer, watch


def test_a_weight_oscillates_and_both_remedies_stop_it() -> None:
    _, free = regression(lambda weight: AbsmaxQuantizer(weight, 4))
    assert free.share() == 0.5
    _, dampened = regression(lambda weight: DampenedQuantizer(weight, 4, strength=5.0))
    assert dampened.share() == 0
    layer, frozen = regression(lambda weight: FreezingQuantizer(weight, 4, threshold=0.02))
    assert frozen.share() == 0
    assert layer.weight_quantizer.frozen.tolist() == [[True, False]]
    assert layer.weight_quantizer.frozen_code[0, 0] in (2, 3)
    assert layer.weight.grad[0, 0] == 0


def test_freezing_keeps_the_code_whatever_the_weight() -> None:
    weight = torch.tensor([[0.1, 0.7], [0.3, -0.7]])
    quantizer = FreezingQuantizer(weight, 4, threshold=0.02).train()
    for step in range(20):
        moved = weight.clone()
        moved[1, 0] += 0.06 * (step % 2)
        quantizer(moved)
    assert quantizer.frozen.tolist() == [[False, False], [True, False]]
    kept = quantizer.frozen_code[1, 0].item()
    weight[1, 0] = -0.6
    codes, scale = quantizer.eval().codes(weight)
    assert codes[1, 0] == kept
    assert torch.equal(quantizer(weight), codes * scale)


def test_dampening_adds_the_gradient_of_its_loss() -> None:
    weight = 0.1 * torch.randn(7, 30, generator=torch.Generator().manual_seed(0))
    latent = weight.clone().requires_grad_()
    upstream = torch.randn(7, 30, generator=torch.Generator().manual_seed(1))
    result = DampenedQuantizer(weight, 4, strength=0.3)(latent)
    assert torch.equal(result, AbsmaxQuantizer(weight, 4)(weight))
    result.backward(upstream)
    exact = weight.double().requires_grad_()
    loss = 0.3 * (result.detach().double() - exact).square().sum()
    (expected,) = torch.autograd.grad(loss, exact)
    assert torch.allclose(latent.grad.double(), upstream + expected, atol=1e-6)


def test_a_watch_goes_on_from_its_state() -> None:
    layer, watch = regression(lambda weight: AbsmaxQuantizer(weight, 4), steps=30)
    again = OscillationWatch([layer])
    assert again.share() is None
    again.load(copy.deepcopy(watch.state()))
    assert again.share() == watch.share() is not None
    watch.restart()
    assert watch.share() is None


def test_entropy_and_condition_by_hand() -> None:
    layer = QuantLinear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[7.0, 0, 0, 0], [0, -3.5, 0, 0]]))
    assert code_entropy(layer) is None
    assert condition_number(layer) == pytest.approx(2)
    layer.weight_quantizer = AbsmaxQuantizer(layer.weight, 4)
    assert code_entropy(layer) == pytest.approx(-(6 / 8) * math.log2(6 / 8) - 2 * (1 / 8) * math.log2(1 / 8))
    assert condition_number(layer) == pytest.approx(7 / 4, rel=1e-4)  # -3.5 rounds to -4, half to even
    with torch.no_grad():
        layer.weight[1] = 0
    assert condition_number(layer) is None
    with torch.no_grad():
        layer.weight.fill_(0.5)
    assert code_entropy(layer) == 0


@pytest.mark.parametrize("experiment", ["main_cifar10", "fp32_cifar10"])
def test_a_record_has_the_share_and_both_measures(
    tmp_path: Path, tiny_run: Callable[..., Run], experiment: str
) -> None:
    record = train_run(tiny_run(experiment, epochs=2, batch_size=16), Settings(results=tmp_path))
    share, quantized = record.summary["oscillating_share"], experiment == "main_cifar10"
    assert (0 < share < 0.5) if quantized else share is None
    assert OSCILLATES < MOMENTUM, "one turn in a short epoch counts"
    for layer in record.layers:
        assert layer["condition_number"] > 1
        assert (0 < layer["code_entropy"] < math.log2(15)) if quantized else layer["code_entropy"] is None
