"""Methods beyond the paper's comparison, each against its formulas, its official code's values or another library."""

import math

import ml_dtypes
import pytest
import torch
from scipy.linalg import hadamard as scipy_hadamard
from torch import Tensor

from repro.quant.absmax_activations import AbsmaxActivations, MovingAbsmaxActivations
from repro.quant.apot import ApotQuantizer, apot_magnitudes
from repro.quant.ewgs import EwgsQuantizer
from repro.quant.hadamard import HadamardTernaryQuantizer, hadamard
from repro.quant.learned_bound import LearnedClipQuantizer, LearnedSoftClipQuantizer
from repro.quant.microscaling import MXFP4Quantizer, NVFP4Quantizer
from repro.quant.statsq import StatsQuantizer
from repro.quant.uniform import AbsmaxQuantizer, TernaryQuantizer


def draw(*shape: int, scale: float = 0.1, seed: int = 0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_learned_clip_has_the_gradients_of_a_clamp() -> None:
    """Of clamp(W, -c, c) in double precision, by torch; only where nothing is clipped is it the paper's grid."""
    weight, upstream = draw(12, 5, 3, 3).requires_grad_(), draw(12, 5, 3, 3, seed=1)
    quantizer = LearnedClipQuantizer(weight.detach(), 4)
    assert torch.equal(quantizer(weight), AbsmaxQuantizer(weight, 4)(weight))
    with torch.no_grad():
        quantizer.clip.fill_(0.12)
    quantizer(weight).backward(upstream)
    exact, bound = weight.detach().double().requires_grad_(), torch.tensor(0.12, dtype=torch.float64).requires_grad_()
    torch.minimum(torch.maximum(exact, -bound), bound).backward(upstream.double())
    assert torch.allclose(weight.grad.double(), exact.grad)
    assert quantizer.clip.grad.item() == pytest.approx(bound.grad.item(), rel=1e-4)
    assert quantizer(weight).abs().max().item() == pytest.approx(0.12)


def test_learned_soft_clip_has_the_gradients_of_equation_9() -> None:
    weight, upstream = draw(9, 20).requires_grad_(), draw(9, 20, seed=1)
    quantizer = LearnedSoftClipQuantizer(weight.detach(), 4, bound=0.15)
    result = quantizer(weight)
    result.backward(upstream)
    exact, bound = weight.detach().double().requires_grad_(), torch.tensor(0.15, dtype=torch.float64).requires_grad_()
    soft = bound * torch.tanh(exact / bound)
    soft.backward(upstream.double())
    assert torch.allclose(weight.grad.double(), exact.grad, atol=1e-6)
    assert quantizer.clip.grad.item() == pytest.approx(bound.grad.item(), rel=1e-4)
    assert torch.allclose(result, AbsmaxQuantizer(weight, 4)(soft.float()), atol=1e-6)
    assert torch.equal(
        LearnedSoftClipQuantizer(weight.detach(), 4, bound=3e4)(weight), AbsmaxQuantizer(weight, 4)(weight)
    )


def test_absmax_activations_by_hand() -> None:
    """The largest of the batch is code 15; the moving bound follows, and stands still in evaluation."""
    first, second = torch.tensor([[0.0, 0.5, 3.0]]), torch.tensor([[6.0, 1.0, 0.2]])
    dynamic = AbsmaxActivations(4)
    assert torch.allclose(dynamic(first), torch.tensor([[0.0, round(0.5 * 5) / 5, 3.0]]))
    assert torch.allclose(dynamic(second), torch.tensor([[6.0, round(1 * 2.5) / 2.5, 0.0]]))
    moving = MovingAbsmaxActivations(4, momentum=0.25).train()
    assert torch.equal(moving(first), dynamic(first))
    inputs = second.clone().requires_grad_()
    moved = moving(inputs)
    bound = 0.75 * 3 + 0.25 * 6
    assert moving.bound.item() == pytest.approx(bound)
    assert moved.max().item() == pytest.approx(bound)
    moved.sum().backward()
    assert inputs.grad.tolist() == [[0.0, 1.0, 1.0]]
    moving.eval()(100 * second)
    assert moving.bound.item() == pytest.approx(bound)


def test_apot_levels_are_those_of_the_official_code() -> None:
    """Its sets for 3 to 7 bits with a sign, every sum once, over the largest."""
    official = {
        2: [[0, 2**-1, 2**-2, 2**-3]],
        3: [[0, 2**-1, 2**-2, 2**-4], [0, 2**-3]],
        4: [[0, 2**-1, 2**-3, 2**-5], [0, 2**-2, 2**-4, 2**-6]],
        5: [[0, 2**-1, 2**-3, 2**-6], [0, 2**-2, 2**-4, 2**-7], [0, 2**-5]],
        6: [[0, 2**-1, 2**-4, 2**-7], [0, 2**-2, 2**-5, 2**-8], [0, 2**-3, 2**-6, 2**-9]],
    }
    for bits, sets in official.items():
        sums = [0.0]
        for values in sets:
            sums = [total + value for total in sums for value in values]
        expected = torch.tensor(sorted(value / max(sums) for value in sums))
        assert torch.allclose(apot_magnitudes(bits), expected)
    assert apot_magnitudes(3).tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0])
    assert apot_magnitudes(1).tolist() == [0, 1]
    assert all(len(apot_magnitudes(bits).unique()) == 2**bits for bits in range(1, 8))


def test_apot_by_hand() -> None:
    """Nearest level of (W - mean) / deviation / clip, and equation 8 for the clip."""
    weight, upstream = (draw(6, 40) + 0.05).requires_grad_(), draw(6, 40, seed=1)
    quantizer = ApotQuantizer(weight.detach(), 4)
    with torch.no_grad():
        quantizer.clip.fill_(1.5)
    result = quantizer(weight)
    result.backward(upstream)
    exact = weight.detach().double()
    ratio = (exact - exact.mean()) / exact.std() / 1.5
    levels = torch.tensor([0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0], dtype=torch.float64)
    levels = torch.cat([-levels, levels])
    nearest = levels[(ratio.unsqueeze(-1) - levels).abs().argmin(-1)]
    assert torch.allclose(result.double(), 1.5 * nearest, atol=1e-6)
    slope = torch.where(ratio.abs() > 1, ratio.sign(), nearest - ratio)
    assert quantizer.clip.grad.item() == pytest.approx((upstream * slope).sum().item(), rel=1e-4)
    assert torch.allclose(weight.grad.double(), upstream.double() / exact.std(), rtol=1e-4)


def test_ewgs_is_absmax_forwards_and_its_equation_backwards() -> None:
    weight, upstream = draw(7, 30).requires_grad_(), draw(7, 30, seed=1)
    quantizer = EwgsQuantizer(weight, 4, delta=0.5)
    result = quantizer(weight)
    assert torch.equal(result, AbsmaxQuantizer(weight, 4)(weight))
    result.backward(upstream)
    step = weight.detach().double().abs().max() / 7
    ratio = weight.detach().double() / step
    expected = upstream.double() * (1 + 0.5 * upstream.double().sign() * (ratio - ratio.round()))
    assert torch.allclose(weight.grad.double(), expected, atol=1e-6)
    assert not torch.allclose(weight.grad, upstream, rtol=1e-2)


def test_statsq_by_hand() -> None:
    """The official code's lines, in double precision, a row at a time."""
    weight = draw(5, 60, scale=0.3)
    result = StatsQuantizer(weight, 3)(weight)
    for row, values in zip(result, weight.double(), strict=True):
        factor = 2 * values.abs().mean()
        clipped = (values / factor).clamp(-1, 1 - 1e-6)
        assert torch.allclose(row.double(), factor * ((clipped * 4 - 0.5).round() + 0.5) / 4, atol=1e-6)
    assert result.count_nonzero() == result.numel()


def test_hadamard_is_orthonormal_and_spares_an_outlier() -> None:
    """SciPy's matrix; with one wide channel the rotated ternary weights are nearer, in norm, than plain ones."""
    for size in (1, 2, 8, 64):
        assert torch.allclose(hadamard(size) @ hadamard(size).T, torch.eye(size), atol=1e-6)
        assert torch.allclose(hadamard(size) * size**0.5, torch.tensor(scipy_hadamard(size)).float())
    weight = draw(16, 32, 3, 3)
    weight[:, 5] *= 30
    plain, rotated = TernaryQuantizer(weight)(weight), HadamardTernaryQuantizer(weight)(weight)
    assert (rotated - weight).norm() < 0.8 * (plain - weight).norm()
    by_hand = torch.einsum("oikl,ij->ojkl", weight.double(), hadamard(32).double())
    scale = by_hand.abs().mean()
    codes = (by_hand / scale).round().clamp(-1, 1)
    back = torch.einsum("oikl,ij->ojkl", codes * scale, hadamard(32).double())
    assert torch.allclose(back.float(), rotated, atol=1e-5)
    colours = draw(8, 3, 3, 3)
    assert torch.allclose(HadamardTernaryQuantizer(colours)(colours), TernaryQuantizer(colours)(colours))


@pytest.mark.parametrize(("method", "block"), [(MXFP4Quantizer, 32), (NVFP4Quantizer, 16)])
def test_block_formats_are_those_of_ml_dtypes(method: type, block: int) -> None:
    """Block by block with another library's FP4, E8M0 and E4M3; a channel's last block is shorter."""
    weight = draw(6, 10, 3, 3) * torch.logspace(-3, 1, 6).reshape(-1, 1, 1, 1)
    weight[2, :5] = 0
    result = method(weight)(weight)
    rows, tensor = weight.flatten(1).double().numpy(), float(weight.abs().max()) / (6 * 448)
    for row, got in zip(rows, result.flatten(1).numpy(), strict=True):
        for start in range(0, len(row), block):
            piece = row[start : start + block]
            largest = float(abs(piece).max())
            if largest == 0:
                assert not got[start : start + block].any()
                continue
            if method is MXFP4Quantizer:
                scale = 2.0 ** (math.floor(math.log2(largest)) - 2)
                assert float(ml_dtypes.float8_e8m0fnu(scale)) == scale
            else:
                units = min(max(largest / 6 / tensor, 2.0**-9), 448.0)
                scale = float(ml_dtypes.float8_e4m3fn(units)) * tensor
            values = (piece / scale).clip(-6, 6).astype(ml_dtypes.float4_e2m1fn).astype(float) * scale
            assert got[start : start + block] == pytest.approx(values, rel=1e-5, abs=1e-12)
