"""The paper's architecture: sizes, initial weights, and that pooling before ReLU changes nothing."""

import math

import pytest
import torch
from torch import nn

from repro.models import VGG
from repro.quant import quant_layers


@pytest.mark.parametrize(("classes", "parameters"), [(10, 3_251_018), (100, 3_297_188)])
def test_parameter_count(classes: int, parameters: int) -> None:
    """3,251,018 as in the paper; for 100 classes 3,297,188 by arithmetic, not the paper's 3,301,468."""
    model = VGG(classes, width=1.0, dropout=0.5)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_layers_in_order() -> None:
    names = list(quant_layers(VGG(10, width=1.0, dropout=0.5)))
    assert names == [f"layers.{name}" for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "fc1", "fc2")]


def test_initial_weights() -> None:
    torch.manual_seed(0)
    layers = quant_layers(VGG(10, width=1.0, dropout=0.5))
    for name, layer in layers.items():
        fan_in = layer.weight[0].numel()
        std = math.sqrt((2 if "conv" in name else 1) / fan_in)
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
        assert layer.bias.count_nonzero() == 0


def test_pooling_before_relu_equals_the_papers_order() -> None:
    x = torch.randn(8, 4, 16, 16, requires_grad=True)
    results = []
    for order in ([nn.MaxPool2d(2), nn.ReLU()], [nn.ReLU(), nn.MaxPool2d(2)]):
        x.grad = None
        out = nn.Sequential(*order)(x)
        out.square().sum().backward()
        results.append((out.detach(), x.grad.clone()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
