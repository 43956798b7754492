"""Radix-4 gradients with two-phase rounding, and the clip of the INT4 weights."""

import math

import pytest
import torch
from torch.nn.functional import conv2d

from repro.quant import QuantConv2d, QuantLinear, effective_weight
from repro.quant.radix4 import Int4Radix4Quantizer, radix4, radix4_phases


def nearest(values: torch.Tensor, grid: list[float]) -> torch.Tensor:
    levels = torch.tensor(sorted({0.0, *grid, *(-level for level in grid)}))
    return levels[(values[:, None] - levels).abs().argmin(dim=1)]


def test_by_hand() -> None:
    """Sun 2020: up at 4^n / 1.6, so at 2.5 between 1 and 4, at 0.625 between 1/4 and 1."""
    values = torch.tensor([0.0, 1.0, 2.4, 2.6, -9.9, 10.1, 0.62, 0.63, 63.0, 200.0, -1 / 64, 0.007, 0.0079])
    assert radix4(values).tolist() == [0, 1, 1, 4, -4, 16, 0.25, 1, 64, 64, -1 / 64, 0, 1 / 64]


def test_equals_the_nearest_of_the_15_values() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(10_000, generator=generator) * 4 ** (8 * torch.rand(10_000, generator=generator) - 5)
    grid = [4.0**n for n in range(-3, 4)]
    assert torch.equal(radix4(values), nearest(values, grid))
    assert len(radix4(values).unique()) == 15


@pytest.mark.parametrize("largest", [1e-9, 3e-5, 0.7, 1.0, 1e6])
def test_phases_are_even_and_odd_powers_of_two_in_range(largest: float) -> None:
    gradient = torch.randn(4000, generator=torch.Generator().manual_seed(1))
    gradient *= largest / gradient.abs().max()
    even, odd = radix4_phases(gradient)
    scale = 2.0 ** (math.floor(math.log2(gradient.abs().max().item())) - 5)  # the largest lies in [32, 64)
    assert torch.equal(even, nearest(gradient / scale, [4.0**n for n in range(-3, 4)]) * scale)
    assert torch.equal(odd, nearest(gradient / scale, [4.0**n / 2 for n in range(-3, 4)]) * scale)
    assert (gradient - (even + odd) / 2).square().mean() < (gradient - even).square().mean()


def test_zero_and_lost_gradients() -> None:
    assert all(torch.equal(phase, torch.zeros(5)) for phase in radix4_phases(torch.zeros(5)))
    for lost in (math.nan, math.inf):
        assert all(phase.isnan().all() for phase in radix4_phases(torch.tensor([1.0, lost])))


def test_a_layer_takes_each_gradient_from_its_phase() -> None:
    layer = QuantConv2d(3, 5, kernel_size=3, padding=1)
    layer.weight_quantizer = Int4Radix4Quantizer(layer.weight.detach())
    images = torch.randn(4, 3, 8, 8, requires_grad=True)
    upstream = torch.randn(4, 5, 8, 8)
    output = layer(images)
    plain = images.detach().requires_grad_()
    weight, bias = effective_weight(layer).detach().requires_grad_(), layer.bias.detach().requires_grad_()
    expected = conv2d(plain, weight, bias, padding=1)
    assert torch.equal(output, expected)
    output.backward(upstream)
    even, odd = radix4_phases(upstream)
    (of_input,) = torch.autograd.grad(expected, plain, even, retain_graph=True)
    of_weight, of_bias = torch.autograd.grad(expected, (weight, bias), odd)
    assert torch.allclose(images.grad, of_input, atol=1e-6)
    assert torch.allclose(layer.weight.grad, of_weight, atol=1e-5)
    assert torch.allclose(layer.bias.grad, of_bias, atol=1e-5)
    assert not torch.allclose(images.grad, torch.autograd.grad(layer(plain), plain, odd)[0], atol=1e-3)


def test_a_layer_without_bias_whose_input_needs_no_gradient() -> None:
    layer = QuantLinear(6, 3, bias=False)
    layer.weight_quantizer = Int4Radix4Quantizer(layer.weight.detach())
    features, upstream = torch.randn(7, 6), torch.randn(7, 3)
    layer(features).backward(upstream)
    assert torch.allclose(layer.weight.grad, radix4_phases(upstream)[1].T @ features, atol=1e-5)


def test_bfloat16_gradients_stay_bfloat16() -> None:
    layer = QuantLinear(6, 3)
    layer.weight_quantizer = Int4Radix4Quantizer(layer.weight.detach())
    features = torch.randn(7, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(features)
    output.backward(torch.randn_like(output))
    assert output.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == features.grad.dtype == torch.float32
    assert torch.isfinite(layer.weight.grad).all()


def test_clip_by_hand() -> None:
    """Choi 2019, 4 bits: 12.68 sqrt(E[W^2]) - 12.80 E|W|; for a normal distribution some 2.47 deviations."""
    weight = torch.tensor([1.0, -1.0, 2.0, 0.0])
    quantizer = Int4Radix4Quantizer(weight)
    assert quantizer.clip_bound(weight).item() == pytest.approx(12.68 * math.sqrt(1.5) - 12.80)
    normal = torch.randn(200_000, generator=torch.Generator().manual_seed(2))
    assert quantizer.clip_bound(normal).item() == pytest.approx(2.47, abs=0.05)
    assert quantizer.clip_bound(torch.full((10,), -0.3)).item() == pytest.approx(0.3), "kept at the mean magnitude"
