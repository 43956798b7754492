"""Convolution and linear layers that take quantisers, and the functions that find and equip them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from repro.config.registry import ACTIVATION_QUANTIZERS, QUANTIZERS
from repro.errors import ReproError
from repro.kernels import product
from repro.quant.base import WeightQuantizer
from repro.quant.radix4 import two_phase


class QuantConv2d(nn.Conv2d):
    """A convolution whose weight passes through ``weight_quantizer``, its input through ``input_quantizer``.

    Without one, plain FP32.
    """

    weight_quantizer: WeightQuantizer | None
    input_quantizer: nn.Module | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As ``nn.Conv2d``."""
        super().__init__(*args, **kwargs)
        self.register_module("weight_quantizer", None)  # a class attribute would hide the module set later
        self.register_module("input_quantizer", None)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        return _compute(self, self._conv_forward, images)

    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        shape = (self.kernel_size, self.stride, self.padding, self.dilation, self.groups, self.padding_mode)
        padded_3x3 = shape == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")
        return product(super()._conv_forward, images, weight, bias, padded_3x3=padded_3x3)


class QuantLinear(nn.Linear):
    """A linear layer whose weight passes through ``weight_quantizer``, its input through ``input_quantizer``.

    Without one, plain FP32.
    """

    weight_quantizer: WeightQuantizer | None
    input_quantizer: nn.Module | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As ``nn.Linear``."""
        super().__init__(*args, **kwargs)
        self.register_module("weight_quantizer", None)
        self.register_module("input_quantizer", None)

    def forward(self, features: Tensor) -> Tensor:
        """[N, F] to [N, F']."""
        return _compute(self, partial(product, nn.functional.linear), features)


QuantLayer = QuantConv2d | QuantLinear


def _compute(layer: QuantLayer, operation: Callable[..., Tensor], inputs: Tensor) -> Tensor:
    """``operation(inputs, weight, bias)`` of what the layer's quantisers make of inputs, weight and gradient."""
    inputs, weight = layer_input(layer, inputs), effective_weight(layer)
    phases = None if layer.weight_quantizer is None else layer.weight_quantizer.gradient_phases
    if phases is not None:
        return two_phase(operation, phases, inputs, weight, layer.bias)
    return operation(inputs, weight, layer.bias)


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


def attach_quantizers(model: nn.Module, name: str, *, only: str = "all", **options: Any) -> None:
    """Equip convolution and linear layers with weight quantisers: all of them, as the authors did.

    Args:
        model: A model made of ``QuantConv2d`` and ``QuantLinear``, with its initial weights.
        name: A key of ``QUANTIZERS``, or ``none`` for FP32, which is the absence of a quantiser.
        only: ``all``, or ``inner`` to leave the first and the last layer in FP32.
        **options: The method's options.
    """
    if name == "none":
        return
    layers = _chosen_layers(model, only)
    for layer in layers:
        layer.weight_quantizer = QUANTIZERS[name](layer.weight.detach(), **options)
    equip = getattr(QUANTIZERS[name].code, "equip", None)
    if equip is not None:
        equip(model)
    quantizers = [layer.weight_quantizer for layer in layers]
    share_bound = getattr(QUANTIZERS[name].code, "share_bound", None)
    if share_bound is not None:
        model.register_forward_pre_hook(lambda *_: share_bound(quantizers, [layer.weight for layer in layers]))


def attach_activation_quantizers(model: nn.Module, name: str, *, only: str = "all", **options: Any) -> None:
    """Equip layers with input quantisers, the first layer of the model never: its input is the image.

    Args:
        model: A model made of ``QuantConv2d`` and ``QuantLinear``.
        name: A key of ``ACTIVATION_QUANTIZERS``, or ``none``.
        only: ``all``, or ``inner`` to leave the last layer's input in FP32 too.
        **options: The method's options.

    Raises:
        ReproError: If the weight quantiser has equipped the inputs itself.
    """
    if name == "none":
        return
    first = next(iter(quant_layers(model).values()))
    for layer in _chosen_layers(model, only):
        if layer.input_quantizer is not None:
            raise ReproError(f"activation quantiser {name}: the weight quantiser quantises the layers' inputs itself")
        if layer is not first:
            layer.input_quantizer = ACTIVATION_QUANTIZERS[name](**options).to(layer.weight.device)


def _chosen_layers(model: nn.Module, only: str) -> list[QuantLayer]:
    layers = list(quant_layers(model).values())
    return {"all": layers, "inner": layers[1:-1]}[only]


@torch.no_grad()
def codes_in_use(layer: QuantLayer) -> Tensor | None:
    """A layer's integer codes; ``None`` without a quantiser, and where the weights are no numbers any more."""
    if layer.weight_quantizer is None or not torch.isfinite(layer.weight).all():
        return None
    codes: Tensor = layer.weight_quantizer.codes(layer.weight)[0]
    return codes


def count_levels(layer: QuantLayer) -> int | None:
    """Distinct integer codes in use, so that per-channel and block scales compare; ``None`` as ``codes_in_use``."""
    codes = codes_in_use(layer)
    return None if codes is None else int(torch.unique(codes).numel())


@torch.no_grad()
def mean_scale(layer: QuantLayer) -> float | None:
    """The layer's ``scale`` in weight units, the mean where it has several; ``None`` without a quantiser."""
    if layer.weight_quantizer is None:
        return None
    return float(layer.weight_quantizer.scale(layer.weight).mean())
