"""Annealed StatsQ against the official code's steps, and noise in place of rounding against its distribution."""

import math

import pytest
import torch
from torch import Tensor

from repro.models import VGG
from repro.models.dropout import share_generator
from repro.quant import attach_quantizers
from repro.quant.annealing import AnnealedStatsQuantizer
from repro.quant.gaussian import GaussianNoiseQuantizer
from repro.quant.statsq import StatsQuantizer
from repro.quant.uniform import AbsmaxQuantizer

BITS, RANGE = 3, 0.1


def draw(*shape: int, scale: float = 0.1, seed: int = 0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def official_frozen(weight: Tensor) -> Tensor:
    """``freeze_outside_boundary_weight_idx`` of nbasyl/OFQ, a boundary at a time, in double precision."""
    weight = weight.double()
    factor, half = 2 * weight.abs().mean(1, keepdim=True), 2 ** (BITS - 1)
    place = (weight / factor).clamp(-1, 1 - 1e-6) * half - 0.5
    near = torch.zeros_like(weight, dtype=torch.bool)
    for code in range(int(place.round().min()), int(place.round().max())):
        near |= (place - code - 0.5).abs() <= RANGE
    return ~near


def test_it_settles_what_the_official_code_freezes_and_restores_it_after_a_step() -> None:
    """Three of its training steps: gradient masked, SGD with decay on everything, frozen weights put back."""
    ours = draw(6, 40, scale=0.3).requires_grad_()
    theirs = ours.detach().clone()
    quantizer = AnnealedStatsQuantizer(ours.detach(), BITS, start=2, boundary_range=RANGE).train()
    quantizer.start_epoch(2)
    frozen = torch.zeros_like(theirs, dtype=torch.bool)
    for step in range(3):
        upstream = draw(6, 40, scale=1.0, seed=10 + step)
        frozen = official_frozen(theirs)
        result = quantizer(ours)
        assert torch.equal(result, StatsQuantizer(theirs, BITS)(theirs))
        assert torch.equal(quantizer.settled, frozen)
        (gradient,) = torch.autograd.grad(result, ours, upstream)
        assert torch.equal(gradient, upstream * ~frozen)
        with torch.no_grad():
            ours.mul_(0.99).sub_(0.01 * gradient)
            theirs.copy_(torch.where(frozen, theirs, theirs * 0.99 - 0.01 * upstream))
    assert 0 < (~frozen).sum() < frozen.sum()
    assert not torch.equal(ours, theirs), "the last step on settled weights still stands in the parameter"
    codes, scale = StatsQuantizer(theirs, BITS).codes(theirs)
    assert torch.equal(quantizer.eval().codes(ours)[0], codes), "but counts no more"
    assert torch.equal(quantizer(ours), (codes + 0.5) * scale)


def test_before_its_start_it_is_statsq() -> None:
    weight = draw(6, 40).requires_grad_()
    quantizer = AnnealedStatsQuantizer(weight.detach(), BITS, start=2, boundary_range=RANGE).train()
    for completed in (0, 1):
        quantizer.start_epoch(completed)
        (gradient,) = torch.autograd.grad(quantizer(weight).sum(), weight)
        assert torch.equal(gradient, torch.ones_like(weight))
        with torch.no_grad():
            weight.add_(draw(6, 40, seed=completed + 1))
        assert torch.equal(quantizer.codes(weight)[0], StatsQuantizer(weight, BITS).codes(weight)[0])
    assert not quantizer.settled.any()


def test_noise_is_a_rounded_normal_in_units_of_a_level() -> None:
    """round(N(0, 1) / 2): P(0) = P(|N| < 1), P(+-1) = P(1 < |N| < 3), the rest beyond; from 200,000 draws."""
    weight, upstream = draw(500, 400).requires_grad_(), draw(500, 400, seed=1)
    quantizer = GaussianNoiseQuantizer(weight, 4).train()
    result = quantizer(weight)
    result.backward(upstream)
    assert torch.equal(weight.grad, upstream)
    levels = (result - weight).detach() / quantizer.scale(weight)
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    within = [math.erf(limit / 2**0.5) for limit in (1, 3, 5)]
    shares = [(levels.round().abs() == size).double().mean().item() for size in (0, 1, 2)]
    assert shares == pytest.approx([within[0], within[1] - within[0], within[2] - within[1]], abs=4e-3)
    assert abs(levels.mean().item()) < 0.01
    assert torch.equal(quantizer.eval()(weight), AbsmaxQuantizer(weight, 4)(weight))


def test_noise_comes_from_the_runs_own_generator() -> None:
    torch.manual_seed(0)
    model, images = VGG(classes=10, width=0.125, dropout=0.5), torch.randn(4, 3, 32, 32)
    attach_quantizers(model, "gaussws", bit_width=4)
    generator = torch.Generator()
    share_generator(model, generator)
    outputs = []
    for seed, elsewhere in ((1, 5), (1, 6), (2, 5)):
        generator.manual_seed(seed)
        torch.manual_seed(elsewhere)
        outputs.append(model.train()(images))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
