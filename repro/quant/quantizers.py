"""The registry of weight quantisers: one small module a layer, one line a method.

To add a method, write its class in a module beside this one, add it to ``QUANTIZERS``,
and list its options in ``repro.config.schema.QUANTIZERS``.
"""

from collections.abc import Callable

from repro.quant.base import WeightQuantizer
from repro.quant.block import NF4Quantizer
from repro.quant.dorefa import DorefaQuantizer
from repro.quant.float_formats import E2M1Quantizer, E4M3Quantizer, E5M2Quantizer
from repro.quant.int8_qat import Int8QatQuantizer
from repro.quant.lsq import LsqQuantizer
from repro.quant.radix4 import Int4Radix4Quantizer
from repro.quant.uniform import (
    AbsmaxQuantizer,
    FixedClipQuantizer,
    GlobalAbsmaxQuantizer,
    InitialAbsmaxQuantizer,
    TernaryQuantizer,
    WageQuantizer,
)

__all__ = ["QUANTIZERS", "WeightQuantizer"]

# name -> factory(initial weight, **options); `none` attaches nothing.
QUANTIZERS: dict[str, Callable[..., WeightQuantizer]] = {
    "absmax": AbsmaxQuantizer,
    "absmax_fixed": FixedClipQuantizer,
    "absmax_global": GlobalAbsmaxQuantizer,
    "absmax_initial": InitialAbsmaxQuantizer,
    "dorefa": DorefaQuantizer,
    "fp4_e2m1": E2M1Quantizer,
    "fp8_e4m3": E4M3Quantizer,
    "fp8_e5m2": E5M2Quantizer,
    "int4_radix4": Int4Radix4Quantizer,
    "int8_qat": Int8QatQuantizer,
    "lsq": LsqQuantizer,
    "nf4": NF4Quantizer,
    "ternary": TernaryQuantizer,
    "wage": WageQuantizer,
}
