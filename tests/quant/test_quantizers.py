"""What every registered weight quantiser promises, and what tells them apart."""

import pytest
import torch

from repro.config.registry import BITS, QUANTIZERS, Quantizer
from repro.config.schema import SPEC
from repro.models import VGG
from repro.quant import (
    UniformQuantizer,
    absmax,
    attach_quantizers,
    count_levels,
    effective_weight,
    mean_scale,
    quant_layers,
)
from repro.quant.uniform import AbsmaxQuantizer, InitialAbsmaxQuantizer
from tests.conftest import example_options
from tests.quant.contract import check_weight_quantizer


def build(name: str, bits: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    model = VGG(classes=10, width=0.125, dropout=0.5)
    options = example_options(SPEC.fields["quantizer"].options(name))
    attach_quantizers(model, name, **{key: bits if key == "bit_width" else value for key, value in options.items()})
    return model


@pytest.mark.parametrize("name", QUANTIZERS)
def test_contract(name: str) -> None:
    """Values, levels, gradients, export and scale invariance: the same promises for every method."""
    check_weight_quantizer(name)


class OneLevelTooMany(UniformQuantizer):
    """Says that it has the 15 levels of 4 bits, and returns 17."""

    scale_invariant = True

    def __init__(self, weight: torch.Tensor, bit_width: int) -> None:
        super().__init__(bit_width)
        self.quant_max += 1

    def clip_bound(self, weight: torch.Tensor) -> torch.Tensor:
        return absmax(weight)


class ForgetsToClamp(AbsmaxQuantizer):
    """Its forward pass rounds finer than its codes say."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return super().forward(weight) + 0 * weight + weight / 1000


class DeniesInvariance(AbsmaxQuantizer):
    scale_invariant = False


class ClaimsInvariance(InitialAbsmaxQuantizer):
    scale_invariant = True


@pytest.mark.parametrize(
    ("bad", "broken"),
    [
        (OneLevelTooMany, "levels, declared 3"),
        (ForgetsToClamp, "do not stand for the weights"),
        (DeniesInvariance, "denies scale invariance"),
        (ClaimsInvariance, "claims scale invariance"),
    ],
)
def test_contract_catches(bad: type, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that breaks one promise does not pass once it is registered."""
    monkeypatch.setitem(QUANTIZERS, "bad", Quantizer(bad, bit_width=BITS))
    with pytest.raises(pytest.fail.Exception, match=broken):
        check_weight_quantizer("bad")


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("name", QUANTIZERS)
def test_inside_a_model(name: str, bits: int) -> None:
    """Every layer computes with its own levels and gets a gradient."""
    model = build(name, bits)
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    for layer in quant_layers(model).values():
        quantizer = layer.weight_quantizer
        if quantizer.noisy:
            quantizer.eval()
        codes, scale = quantizer.codes(layer.weight)
        assert torch.equal(quantizer.dequantize(codes, scale), effective_weight(layer))
        assert count_levels(layer) == codes.unique().numel() <= quantizer.max_levels
        assert mean_scale(layer) > 0
        assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())


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


def test_inner_leaves_the_first_and_the_last_layer_alone() -> None:
    torch.manual_seed(0)
    model = VGG(classes=10, width=0.125, dropout=0.5)
    attach_quantizers(model, "absmax_global", only="inner", bit_width=4)
    layers = list(quant_layers(model).values())
    assert [layer.weight_quantizer is not None for layer in layers] == [False, *[True] * 6, False]
    with torch.no_grad():
        layers[-1].weight[0, 0] = 5.0
    model(torch.randn(2, 3, 32, 32))
    largest = max(layer.weight.abs().max().item() for layer in layers[1:-1])
    assert layers[1].weight_quantizer.scale(layers[1].weight).item() == pytest.approx(largest / 7)
