"""Equations 1-8 against an independent operator, by hand, and at the edges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.quant import absmax, fake_quantize, largest_code, quantize

Q = largest_code(4)


def fake(weight: torch.Tensor) -> torch.Tensor:
    return fake_quantize(weight, absmax(weight) / Q, Q)


@pytest.mark.parametrize("shape", [(64, 3, 3, 3), (128, 64, 3, 3), (512, 256), (10, 512)])
@pytest.mark.parametrize("seed", range(5))
def test_equals_torchs_operator_bit_for_bit(shape: tuple[int, ...], seed: int) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1
    scale = absmax(weight) / Q
    expected = torch.fake_quantize_per_tensor_affine(weight, float(scale), 0, -Q, Q)
    assert torch.equal(fake(weight), expected)


def test_differs_from_torchs_operator_only_at_exact_half_levels() -> None:
    """Torch multiplies by 1 / scale, the paper divides: only where W / s is k + 1/2 can rounding disagree."""
    scale = torch.tensor(0.3)
    offsets = torch.arange(-6, 6) + 0.5
    near = torch.cat([torch.nextafter(offsets * scale, torch.tensor(sign * 9.0)) for sign in (-1, 1)])
    grid = torch.cat([offsets * scale, near, torch.linspace(-2.1, 2.1, 10_001)])
    ours = quantize(grid, scale, Q)
    theirs = torch.fake_quantize_per_tensor_affine(grid, float(scale), 0, -Q, Q) / scale
    different = ours != theirs.round()
    assert different.any(), "pick another scale: this one shows no difference"
    quotient = (grid[different] / scale).double()
    assert torch.all((quotient - quotient.floor() - 0.5).abs() < 1e-6)
    assert torch.all((ours[different] - theirs[different].round()).abs() == 1)


def test_by_hand() -> None:
    weight = torch.tensor([-1.75, -0.625, -0.1, 0.0, 0.124, 0.126, 0.375, 0.875, 1.75])
    # W / s = -7, -2.5, -0.4, 0, 0.496, 0.504, 1.5, 3.5, 7: halves go to the even neighbour
    assert quantize(weight, torch.tensor(0.25), Q).tolist() == [-7, -2, 0, 0, 0, 1, 2, 4, 7]


def test_clamps_beyond_the_range() -> None:
    codes = quantize(torch.tensor([-5.0, 5.0]), torch.tensor(0.1), Q)
    assert codes.tolist() == [-7, 7]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=200), st.integers(2, 8))
def test_never_more_levels_than_the_bit_width_holds(values: list[float], bits: int) -> None:
    weight, quant_max = torch.tensor(values), largest_code(bits)
    scale = absmax(weight) / quant_max
    result = fake_quantize(weight, scale, quant_max)
    assert result.unique().numel() <= 2 * quant_max + 1
    assert torch.all((result - weight).abs() <= scale * 0.5001 + 1e-6 * weight.abs())


def test_gradient_is_the_identity() -> None:
    weight = torch.randn(20, 30, requires_grad=True)
    upstream = torch.randn(20, 30)
    fake(weight).backward(upstream)
    assert torch.equal(weight.grad, upstream)


@pytest.mark.parametrize("seed", range(5))
def test_equals_equation_8_bit_for_bit(seed: int) -> None:
    """W + (Q(W) - W).detach() as the paper writes it: the same values and the same gradient."""
    weight = torch.randn(100_000, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    as_written = weight + (fake(weight) - weight).detach()
    assert torch.equal(as_written, fake(weight))
    (gradient,) = torch.autograd.grad(as_written.square().sum(), weight)
    (ours,) = torch.autograd.grad(fake(weight).square().sum(), weight)
    assert torch.equal(gradient, ours)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(torch.zeros(3, 3), torch.zeros(3, 3)), (torch.tensor([0.5]), torch.tensor([0.5]))],
)
def test_all_zero_and_one_element(weight: torch.Tensor, expected: torch.Tensor) -> None:
    assert torch.allclose(fake(weight), expected)


def test_nan_stays_visible() -> None:
    assert fake(torch.tensor([1.0, float("nan")])).isnan().all()


def test_absmax_takes_the_larger_side() -> None:
    assert absmax(torch.tensor([-3.0, 2.0])).item() == 3.0
    assert absmax(torch.tensor([-1.0, 2.0])).item() == 2.0
