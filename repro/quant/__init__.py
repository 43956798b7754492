"""The 4-bit core: fake quantisation (equations 1-8), other methods beside it, and the layers that use them."""

from repro.quant.activations import ActivationQuantizer
from repro.quant.base import WeightQuantizer
from repro.quant.frozen import FrozenQuantizer
from repro.quant.functional import absmax, fake_quantize, largest_code, quantize
from repro.quant.layers import (
    QuantConv2d,
    QuantLayer,
    QuantLinear,
    attach_activation_quantizers,
    attach_quantizers,
    count_levels,
    effective_weight,
    mean_scale,
    quant_layers,
)
from repro.quant.uniform import UniformQuantizer

__all__ = [
    "ActivationQuantizer",
    "FrozenQuantizer",
    "QuantConv2d",
    "QuantLayer",
    "QuantLinear",
    "UniformQuantizer",
    "WeightQuantizer",
    "absmax",
    "attach_activation_quantizers",
    "attach_quantizers",
    "count_levels",
    "effective_weight",
    "fake_quantize",
    "largest_code",
    "mean_scale",
    "quant_layers",
    "quantize",
]
