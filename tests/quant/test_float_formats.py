"""Small floating-point formats against torch's own types, and E2M1 against its table."""

import pytest
import torch

from repro.quant.float_formats import E2M1Quantizer, E4M3Quantizer, E5M2Quantizer, FloatFormatQuantizer

TORCH_TYPES = [(E4M3Quantizer, torch.float8_e4m3fn), (E5M2Quantizer, torch.float8_e5m2)]


@pytest.mark.parametrize(("kind", "dtype"), TORCH_TYPES)
@pytest.mark.parametrize("spread", [1e-4, 0.05, 1.0, 30.0])
def test_equals_torchs_cast_bit_for_bit(kind: type[FloatFormatQuantizer], dtype: torch.dtype, spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = spread * torch.randn(50_000, generator=generator) * torch.rand(50_000, generator=generator) ** 8
    quantizer = kind(weight)
    scale = weight.abs().max() / torch.finfo(dtype).max
    assert torch.equal(quantizer.scale(weight), scale)
    expected = (weight / scale).to(dtype)
    assert torch.equal(quantizer(weight), expected.float() * scale)
    codes, _ = quantizer.codes(weight)
    assert torch.equal(codes.abs(), (expected.view(torch.uint8) & 0x7F).to(torch.int8)), "the format's bit pattern"


@pytest.mark.parametrize(("kind", "dtype"), TORCH_TYPES)
def test_every_value_of_the_format_stays(kind: type[FloatFormatQuantizer], dtype: torch.dtype) -> None:
    values = torch.arange(256, dtype=torch.uint8).view(dtype).float()
    values = values[values.isfinite()].unique()
    quantizer = kind(values)
    assert torch.equal(quantizer(values), values)
    assert len(values) == quantizer.max_levels == len(quantizer.codes(values)[0].unique())


@pytest.mark.parametrize(("kind", "dtype"), TORCH_TYPES)
def test_ties_go_to_the_even_neighbour(kind: type[FloatFormatQuantizer], dtype: torch.dtype) -> None:
    values = torch.arange(128, dtype=torch.uint8).view(dtype).float()
    values = values[values.isfinite()]
    middles = torch.cat([(values[1:] + values[:-1]) / 2, values[-1:]])  # the largest keeps the scale at 1
    assert torch.equal(kind(middles)(middles), middles.to(dtype).float())


def test_e2m1_by_its_table() -> None:
    """OCP microscaling formats: 0, 0.5, 1, 1.5, 2, 3, 4, 6; ties to the value with an even mantissa."""
    weight = torch.tensor([6.0, 5.0, 5.1, 3.5, 2.5, 1.75, 1.25, 0.75, 0.25, 0.26, 0.2, -0.4, -2.4, -6.0])
    expected = [6.0, 4.0, 6.0, 4.0, 2.0, 2.0, 1.0, 1.0, 0.0, 0.5, 0.0, -0.5, -2.0, -6.0]
    quantizer = E2M1Quantizer(weight)
    assert quantizer(weight).tolist() == expected
    assert quantizer.magnitudes.tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert quantizer.max_levels == 15
    assert quantizer.codes(weight)[0].tolist() == [7, 6, 7, 6, 4, 4, 2, 2, 0, 1, 0, -1, -4, -7]


@pytest.mark.parametrize("kind", [E2M1Quantizer, E4M3Quantizer, E5M2Quantizer])
def test_nan_stays_visible(kind: type[FloatFormatQuantizer]) -> None:
    weight = torch.tensor([1.0, float("nan"), -2.0])
    assert kind(weight)(weight).isnan().all()
