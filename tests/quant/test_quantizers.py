"""What every registered weight quantiser promises, and what tells them apart."""

import pytest
import torch

from repro.config.schema import QUANTIZERS as DECLARED
from repro.models import VGG
from repro.quant import QUANTIZERS, attach_quantizers, count_levels, effective_weight, quant_layers
from tests.conftest import example_options


def build(name: str, bits: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    model = VGG(classes=10, width=0.125, dropout=0.5)
    options = example_options(DECLARED[name])
    attach_quantizers(model, name, **{key: bits if key == "bit_width" else value for key, value in options.items()})
    return model


def test_registry_and_schema_name_the_same_methods() -> None:
    assert set(DECLARED) == set(QUANTIZERS) | {"none"}


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("name", QUANTIZERS)
def test_contract(name: str, bits: int) -> None:
    """Forward, backward, level count, codes times scale: the same promise for every method."""
    if "bit_width" not in DECLARED[name]:
        pytest.skip(f"{name} has one bit width and scales by channel: held to its promises in a file of its own")
    model = build(name, bits)
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    for layer in quant_layers(model).values():
        quantizer = layer.weight_quantizer
        weight = effective_weight(layer)
        assert weight.shape == layer.weight.shape
        assert weight.unique().numel() <= quantizer.max_levels == 2 ** (bits) - 1
        codes, scale = quantizer.codes(layer.weight)
        assert codes.dtype == torch.int8
        assert torch.equal(quantizer.dequantize(codes, scale), weight)
        assert count_levels(layer) == codes.unique().numel() <= quantizer.max_levels
        assert layer.weight.grad is not None
        assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_quantiser_is_really_in_the_forward_pass(name: str) -> None:
    """A layer must not fall back to its latent weights: the outputs of both differ."""
    torch.manual_seed(0)
    plain = VGG(classes=10, width=0.125, dropout=0.5).eval()
    quantized = build(name).eval()
    quantized.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(plain(images), quantized(images), atol=1e-4)


def test_none_attaches_nothing() -> None:
    model = build("none")
    assert all(layer.weight_quantizer is None for layer in quant_layers(model).values())
    assert all(effective_weight(layer) is layer.weight for layer in quant_layers(model).values())
    assert all(count_levels(layer) is None for layer in quant_layers(model).values())


def test_fixed_clip_of_3_leaves_the_weights_that_the_evidence_counts() -> None:
    """At the start 745 or so of the first layer's 1,728 weights survive c = 3.0, and none from the fourth on."""
    torch.manual_seed(0)
    model = VGG(classes=10, width=1.0, dropout=0.5)
    attach_quantizers(model, "absmax_fixed", bit_width=4, clip=3.0)
    survivors = [int(effective_weight(layer).count_nonzero()) for layer in quant_layers(model).values()]
    assert 690 <= survivors[0] <= 800
    assert 1 <= survivors[1] <= 30
    assert 1 <= survivors[2] <= 50
    assert survivors[3:] == [0, 0, 0, 0, 0]


def test_initial_scale_is_kept() -> None:
    model = build("absmax_initial")
    layer = next(iter(quant_layers(model).values()))
    before = layer.weight_quantizer.scale(layer.weight)
    with torch.no_grad():
        layer.weight.mul_(3)
    assert torch.equal(layer.weight_quantizer.scale(layer.weight), before)
    assert "layers.conv1.weight_quantizer.bound" in model.state_dict()


def test_dynamic_scale_follows_the_weights() -> None:
    model = build("absmax")
    layer = next(iter(quant_layers(model).values()))
    before = layer.weight_quantizer.scale(layer.weight)
    with torch.no_grad():
        layer.weight.mul_(2)
    assert torch.allclose(layer.weight_quantizer.scale(layer.weight), 2 * before)


def test_global_scale_is_the_maximum_over_all_layers() -> None:
    model = build("absmax_global")
    layers = list(quant_layers(model).values())
    with torch.no_grad():
        layers[3].weight[0, 0, 0, 0] = 5.0
    model(torch.randn(2, 3, 32, 32))
    scales = [layer.weight_quantizer.scale(layer.weight).item() for layer in layers]
    assert scales == [pytest.approx(5.0 / 7)] * 8


@pytest.mark.parametrize("name", ["absmax"])
def test_scale_invariance(name: str) -> None:
    """Codes do not change when all weights are multiplied by a power of two."""
    model = build(name)
    for layer in quant_layers(model).values():
        codes, _ = layer.weight_quantizer.codes(layer.weight)
        assert torch.equal(layer.weight_quantizer.codes(layer.weight * 4)[0], codes)
