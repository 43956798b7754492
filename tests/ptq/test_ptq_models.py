"""Every PTQ method on every model: right where it applies, refused where it does not know the network."""

import copy

import pytest
import torch
from torch import Tensor, nn

from repro.config.registry import MODELS, PTQ_METHODS
from repro.errors import ReproError
from repro.ptq import quantize_model
from repro.ptq.equalization import equalize, fold_batch_norms
from repro.quant import FrozenQuantizer, QuantConv2d, QuantLinear, quant_layers
from tests.conftest import example_options
from tests.models.contract import build, make_images


def quantize(model: nn.Module, name: str, images: Tensor, bits: int) -> nn.Module:
    options = {**example_options(PTQ_METHODS[name].options), "bit_width": bits}
    quantize_model(model, name, images, **options)
    return model


@pytest.mark.parametrize("name", PTQ_METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_eight_bits_change_the_logits_less_than_four(model: str, name: str) -> None:
    images = make_images(count=64)
    with torch.no_grad():
        reference = build(model)(images)
        errors = []
        for bits in (4, 8):
            net = quantize(build(model), name, images, bits)
            assert all(isinstance(layer.weight_quantizer, FrozenQuantizer) for layer in quant_layers(net).values())
            errors.append(float((net(images) - reference).norm() / reference.norm()))
    assert errors[1] < errors[0] / 4
    assert errors[1] < 0.1


@pytest.mark.parametrize("model", MODELS)
def test_folding_and_equalising_leave_the_logits(model: str) -> None:
    net, images = build(model), make_images()
    before = net(images)
    fold_batch_norms(net)
    weights = copy.deepcopy({name: layer.weight for name, layer in quant_layers(net).items()})
    equalize(net)
    assert torch.allclose(net(images), before, rtol=1e-2, atol=1e-3)
    moved = [name for name, layer in quant_layers(net).items() if not torch.equal(layer.weight, weights[name])]
    if model == "resnet20":  # what a shortcut sees keeps its ranges
        assert moved == [f"layers.block{s}_{b}.conv{c}" for s in (1, 2, 3) for b in (1, 2, 3) for c in (1, 2)]
    elif model == "vit_tiny":  # attention is a mean of values: a factor on their channels passes through it
        assert moved == [f"layers.block{index}.{name}" for index in range(1, 13) for name in ("value", "proj")]
    else:
        assert moved == list(weights)


def test_a_network_that_does_not_say_who_follows_whom_is_refused() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = QuantConv2d(3, 4, 1), QuantConv2d(3, 4, 1)
            self.fc = QuantLinear(4, 10)

        def forward(self, images: Tensor) -> Tensor:
            return self.fc((self.left(images) + self.right(images)).relu().mean((2, 3)))

    images = make_images()
    with pytest.raises(ReproError, match="Branches declares no sequence"):
        quantize(Branches(), "cle", images, 4)
    quantize(Branches(), "gptq", images, 4)
