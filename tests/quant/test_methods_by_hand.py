"""Weight methods against values worked out by hand from their papers, and against published tables."""

import math

import pytest
import torch

from repro.quant import QUANTIZERS
from repro.quant.block import NF4Quantizer, nf4_levels
from repro.quant.dorefa import DorefaQuantizer
from repro.quant.lsq import LsqQuantizer, learned_step
from repro.quant.uniform import TernaryQuantizer, WageQuantizer

# Dettmers 2023 (QLoRA), appendix E
PUBLISHED_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


@pytest.mark.parametrize("name", ["absmax", "ternary", "int4_radix4", "wage"])
def test_uniform_grids_equal_torchs_operator(name: str) -> None:
    weight = 0.05 * torch.randn(64, 32, 3, 3, generator=torch.Generator().manual_seed(1))
    quantizer = QUANTIZERS[name](weight, **({"bit_width": 4} if name in ("absmax", "wage") else {}))
    scale, largest = float(quantizer.scale(weight)), quantizer.quant_max
    expected = torch.fake_quantize_per_tensor_affine(weight, scale, 0, -largest, largest)
    assert torch.allclose(quantizer(weight), expected, atol=1e-7)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_lsq_equals_torchs_learned_operator(bits: int) -> None:
    """Values, and gradients of values and step: ``torch._fake_quantize_learnable_per_tensor_affine``.

    Torch rounds before it clips: within half a level beyond a clipping point it still counts a value as inside.
    """
    generator = torch.Generator().manual_seed(2)
    weight, upstream = torch.randn(2, 40, 30, generator=generator).unbind()
    quantizer = LsqQuantizer(weight, bits)
    ratio = weight / quantizer.step.detach()
    for border in (quantizer.low, quantizer.high):
        weight[(ratio - border).abs() < 0.51] = 0
    ours, theirs = weight.clone().requires_grad_(), weight.clone().requires_grad_()
    step = quantizer.step.detach().clone().reshape(1).requires_grad_()
    factor = 1 / math.sqrt(weight.numel() * quantizer.high)
    expected = torch._fake_quantize_learnable_per_tensor_affine(
        theirs, step, torch.zeros(1), quantizer.low, quantizer.high, factor
    )
    result = quantizer(ours)
    assert torch.allclose(result, expected, atol=1e-6)
    result.backward(upstream)
    expected.backward(upstream)
    assert torch.equal(ours.grad, theirs.grad)
    assert quantizer.step.grad.item() == pytest.approx(step.grad.item(), rel=1e-4)


def test_lsq_gradients_by_hand() -> None:
    """Esser 2020, equations 3 and 5: -v/s + round(v/s) inside, -Q_N and Q_P outside, which pass no gradient."""
    values = torch.tensor([-2.0, -0.3, 0.1, 0.35, 0.8, 5.0], requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    result = learned_step(values, step, -2, 1, count=4)
    assert result.tolist() == [-1.0, -0.5, 0.0, 0.5, 0.5, 0.5]  # v / s = -4, -0.6, 0.2, 0.7, 1.6, 10
    result.sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 1, 0, 0]
    expected = (-2 + (-1 + 0.6) + (0 - 0.2) + (1 - 0.7) + 1 + 1) / math.sqrt(4 * 1)
    assert step.grad.item() == pytest.approx(expected, rel=1e-5)


def test_lsq_starts_from_the_mean_magnitude() -> None:
    weight = torch.tensor([[1.0, -3.0], [2.0, 2.0]])
    assert LsqQuantizer(weight, 4).step.item() == pytest.approx(2 * 2 / math.sqrt(7))
    assert LsqQuantizer(weight, 4, initial_factor=16).step.item() == pytest.approx(16 * 2 * 2 / math.sqrt(7))


def test_lsq_step_that_falls_below_zero_comes_back() -> None:
    quantizer = LsqQuantizer(torch.randn(100), 4)
    with torch.no_grad():
        quantizer.step.fill_(-0.1)
    weight = torch.randn(100)
    result = quantizer(weight)
    assert torch.isfinite(result).all()
    (result - weight).square().sum().backward()
    assert quantizer.step.grad < 0, "a descent step makes it larger"


def test_dorefa_by_hand() -> None:
    """Zhou 2016, equations 9 and 10, with k = 2: r = tanh(W) / (2 max) + 1/2, on thirds, stretched to [-1, 1]."""
    tangents = torch.tensor([0.5, -0.5, 0.2, -0.05, 0.0])  # r = 1, 0, 0.7, 0.45, 0.5; 3 r = 3, 0, 2.1, 1.35, 1.5
    quantizer = DorefaQuantizer(tangents, 2)
    assert quantizer(torch.atanh(tangents)).tolist() == pytest.approx([1, -1, 1 / 3, -1 / 3, 1 / 3])
    assert quantizer.codes(torch.atanh(tangents))[0].tolist() == [1, -2, 0, -1, 0]


def test_dorefa_gradient_is_that_of_the_smooth_function() -> None:
    """Straight through the rounding: as if 2 r - 1 = tanh(W) / max(abs(tanh(W))) had not been rounded."""
    weight = torch.randn(50, generator=torch.Generator().manual_seed(3), requires_grad=True)
    upstream = torch.randn(50)
    DorefaQuantizer(weight, 4)(weight).backward(upstream)
    (expected,) = torch.autograd.grad((torch.tanh(weight) / torch.tanh(weight).abs().max()), weight, upstream)
    assert torch.allclose(weight.grad, expected, atol=1e-5)


def test_nf4_table_is_the_published_one() -> None:
    """Up to the last bits of FP32: the published one has the offset rounded to 0.9677083."""
    assert torch.allclose(nf4_levels(), torch.tensor(PUBLISHED_NF4), atol=3e-7, rtol=0)


def test_nf4_takes_the_nearest_level_of_each_block() -> None:
    weight = 0.05 * torch.randn(10, 13, generator=torch.Generator().manual_seed(4))  # blocks of 64, 64 and 2
    quantizer = NF4Quantizer(weight)
    result, (codes, scale) = quantizer(weight), quantizer.codes(weight)
    assert scale.shape == (3,)
    levels = torch.tensor(PUBLISHED_NF4)
    for block, code, value, largest in zip(
        weight.flatten().split(64), codes.flatten().split(64), result.flatten().split(64), scale, strict=True
    ):
        assert largest == block.abs().max()
        nearest = (block[:, None] / largest - levels).abs().argmin(dim=1)
        assert torch.equal(code.long() + 8, nearest)
        assert torch.allclose(value, levels[nearest] * largest)


def test_nf4_blocks_do_not_depend_on_the_memory_layout() -> None:
    weight = torch.randn(16, 8, 3, 3)
    quantizer = NF4Quantizer(weight)
    assert torch.equal(quantizer(weight), quantizer(weight.to(memory_format=torch.channels_last)))


def test_ternary_by_hand() -> None:
    weight = torch.tensor([0.5, -0.2, 0.05, -0.05, 0.0, 0.4])  # mean magnitude 0.2: W / g = 2.5, -1, 0.25, ...
    quantizer = TernaryQuantizer(weight)
    assert quantizer.codes(weight)[0].tolist() == [1, -1, 0, 0, 0, 1]
    assert quantizer(weight).tolist() == pytest.approx([0.2, -0.2, 0, 0, 0, 0.2])


def test_wage_grid_by_hand() -> None:
    """4 bits: sigma 1/8, least limit 3/16. A limit of 0.1 gives the shift 2^round(log2 1.875) = 2: steps of 1/16."""
    weight = torch.full((100,), 0.1 / math.sqrt(3))
    quantizer = WageQuantizer(weight, 4)
    assert quantizer.scale(weight).item() == 1 / 16
    values = torch.tensor([0.03, 0.04, -0.11, 0.3, 2.0, -2.0])
    assert quantizer(values).tolist() == [0, 1 / 16, -2 / 16, 5 / 16, 7 / 16, -7 / 16]
    wide = WageQuantizer(torch.full((100,), 0.5), 4)  # no shift where the limit is large enough
    assert wide(torch.tensor([2.0])).item() == 1 - 1 / 8
    # the original's own width: 2 bits, sigma 1/2, so -1/2, 0 and 1/2
    assert WageQuantizer(torch.full((100,), 0.5), 2)(torch.tensor([-2.0, 0.2, 0.3])).tolist() == [-0.5, 0, 0.5]
