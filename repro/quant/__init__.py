"""The 4-bit core: fake quantisation (equations 1-8) and the layers that use it."""

from repro.quant.frozen import FrozenQuantizer
from repro.quant.functional import absmax, fake_quantize, largest_code, quantize
from repro.quant.int8_qat import Int8QatQuantizer
from repro.quant.layers import (
    QuantConv2d,
    QuantLayer,
    QuantLinear,
    attach_quantizers,
    count_levels,
    effective_weight,
    mean_scale,
    quant_layers,
)
from repro.quant.quantizers import QUANTIZERS, WeightQuantizer

QUANTIZERS["int8_qat"] = Int8QatQuantizer  # here, because its module builds on the one that holds the registry

__all__ = [
    "QUANTIZERS",
    "FrozenQuantizer",
    "QuantConv2d",
    "QuantLayer",
    "QuantLinear",
    "WeightQuantizer",
    "absmax",
    "attach_quantizers",
    "count_levels",
    "effective_weight",
    "fake_quantize",
    "largest_code",
    "mean_scale",
    "quant_layers",
    "quantize",
]
