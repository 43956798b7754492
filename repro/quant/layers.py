"""Convolution and linear layers that take a weight quantiser, and the functions that find and equip them."""

from typing import Any

import torch
from torch import Tensor, nn

from repro.quant.quantizers import QUANTIZERS, WeightQuantizer


class QuantConv2d(nn.Conv2d):
    """A convolution whose weight passes through ``weight_quantizer``; without one, plain FP32."""

    weight_quantizer: WeightQuantizer | None
    input_quantizer: nn.Module | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As ``nn.Conv2d``."""
        super().__init__(*args, **kwargs)
        self.register_module("weight_quantizer", None)  # a class attribute would hide the module set later
        self.register_module("input_quantizer", None)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        result: Tensor = self._conv_forward(layer_input(self, images), effective_weight(self), self.bias)
        return result


class QuantLinear(nn.Linear):
    """A linear layer whose weight passes through ``weight_quantizer``; without one, plain FP32."""

    weight_quantizer: WeightQuantizer | None
    input_quantizer: nn.Module | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As ``nn.Linear``."""
        super().__init__(*args, **kwargs)
        self.register_module("weight_quantizer", None)
        self.register_module("input_quantizer", None)

    def forward(self, features: Tensor) -> Tensor:
        """[N, F] to [N, F']."""
        return nn.functional.linear(layer_input(self, features), effective_weight(self), self.bias)


QuantLayer = QuantConv2d | QuantLinear


def effective_weight(layer: QuantLayer) -> Tensor:
    """The weight that the layer computes with."""
    if layer.weight_quantizer is None:
        return layer.weight
    weight: Tensor = layer.weight_quantizer(layer.weight)
    return weight


def layer_input(layer: QuantLayer, values: Tensor) -> Tensor:
    """The input that the layer computes with."""
    if layer.input_quantizer is None:
        return values
    result: Tensor = layer.input_quantizer(values)
    return result


def quant_layers(model: nn.Module) -> dict[str, QuantLayer]:
    """Every layer that can take a quantiser, by name, in the order of the forward pass."""
    return {name: m for name, m in model.named_modules() if isinstance(m, QuantConv2d | QuantLinear)}


def attach_quantizers(model: nn.Module, name: str, **options: Any) -> None:
    """Equip every convolution and linear layer, the first and the last too, as the authors did.

    Args:
        model: A model made of ``QuantConv2d`` and ``QuantLinear``, with its initial weights.
        name: A key of ``QUANTIZERS``, or ``none`` for FP32, which is the absence of a quantiser.
        **options: The method's options.
    """
    if name == "none":
        return
    layers = list(quant_layers(model).values())
    for layer in layers:
        layer.weight_quantizer = QUANTIZERS[name](layer.weight.detach(), **options)
    equip = getattr(QUANTIZERS[name], "equip", None)
    if equip is not None:
        equip(model)
    quantizers = [layer.weight_quantizer for layer in layers]
    share_bound = getattr(QUANTIZERS[name], "share_bound", None)
    if share_bound is not None:
        model.register_forward_pre_hook(lambda *_: share_bound(quantizers, [layer.weight for layer in layers]))


@torch.no_grad()
def count_levels(layer: QuantLayer) -> int | None:
    """Distinct integer codes in use, so that per-channel and block scales compare.

    ``None`` without a quantiser, and where the weights are no numbers any more.
    """
    if layer.weight_quantizer is None or not torch.isfinite(layer.weight).all():
        return None
    codes, _ = layer.weight_quantizer.codes(layer.weight)
    return int(torch.unique(codes).numel())


@torch.no_grad()
def mean_scale(layer: QuantLayer) -> float | None:
    """Width of one level in weight units, the mean where a layer has several; ``None`` without a quantiser."""
    if layer.weight_quantizer is None:
        return None
    return float(layer.weight_quantizer.scale(layer.weight).mean())
