"""Small floating-point formats: FP8 E4M3 and E5M2, FP4 E2M1, each with one scale a tensor."""

from typing import ClassVar

import torch
from torch import Tensor

from repro.quant.base import WeightQuantizer, nonzero
from repro.quant.functional import absmax_plain


class FloatFormatQuantizer(WeightQuantizer):
    """Weights rounded to a small floating-point format, ties to even, after division by max(abs(W)) / largest value.

    The code is the magnitude's rank among the format's values, with the weight's sign: for a positive number the
    format's own bit pattern. So there is one zero, and no code for infinity or NaN.

    Modelled: the weights of the forward pass. Not modelled: activations, errors, gradients and accumulators of small
    formats, and stochastic rounding. One scale a tensor, dynamic, brings the largest weight to the format's largest
    value; without it the weights of wide layers would fall among the subnormal numbers.

    Attributes:
        exponent_bits: Bits of the exponent, with the bias of IEEE 754.
        mantissa_bits: Bits after the leading one.
        largest: Largest finite value.
    """

    scale_invariant = True
    exponent_bits: ClassVar[int]
    mantissa_bits: ClassVar[int]
    largest: ClassVar[float]
    magnitudes: Tensor

    def __init__(self, weight: Tensor) -> None:
        """``weight`` gives only the device."""
        self.smallest_exponent = 2 - 2 ** (self.exponent_bits - 1)
        magnitudes = self._magnitudes()
        super().__init__(1 + self.exponent_bits + self.mantissa_bits, max_levels=2 * len(magnitudes) - 1)
        self.register_buffer("magnitudes", magnitudes.to(weight.device), persistent=False)

    def scale(self, weight: Tensor) -> Tensor:
        """Weight units of the format's 1."""
        return nonzero(absmax_plain(weight) / self.largest)

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Signed rank of the nearest value, and the scale."""
        scale = self.scale(weight)
        return self.ranks(weight / scale).to(torch.int8), scale

    def ranks(self, values: Tensor) -> Tensor:
        """Signed rank of the format's value nearest to each of ``values``, as floating point; it saturates."""
        values = values.float()
        binade = _exponent(values).sub_(self.smallest_exponent).clamp_(min=0)  # the subnormal numbers join the first
        # whole steps of the binade, half to even; a carry into the next binade is the next rank
        steps = (values * _power_of_two(self.mantissa_bits - self.smallest_exponent - binade)).round_()
        rank = steps.add_(torch.sign(values) * (binade << self.mantissa_bits))
        return rank.clamp_(1 - len(self.magnitudes), len(self.magnitudes) - 1)

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Value of the rank, signed, times scale."""
        wide = codes.int()
        weight: Tensor = self.magnitudes[wide.abs()] * torch.sign(wide) * scale
        return weight

    def _magnitudes(self) -> Tensor:
        """Zero and every positive value, ascending; the position is the bit pattern."""
        patterns = torch.arange(2 ** (self.exponent_bits + self.mantissa_bits), dtype=torch.int32)
        exponent, fraction = patterns >> self.mantissa_bits, patterns % 2**self.mantissa_bits
        steps = fraction + torch.where(exponent > 0, 2**self.mantissa_bits, 0)
        values: Tensor = steps * _power_of_two(exponent.clamp(min=1) - 1 + self.smallest_exponent - self.mantissa_bits)
        return values[values <= self.largest]


def _exponent(values: Tensor) -> Tensor:
    """Floor of the base-2 logarithm of each magnitude, int32, from the bits of FP32 numbers; -127 for zero."""
    bits: Tensor = values.view(torch.int32) >> 23
    return bits.bitwise_and_(0xFF).sub_(127)


def _power_of_two(exponents: Tensor) -> Tensor:
    """FP32 powers of two of int32 exponents from -126 to 127."""
    bits: Tensor = (exponents + 127) << 23
    return bits.view(torch.float32)


class E4M3Quantizer(FloatFormatQuantizer):
    """FP8 E4M3 (Micikevicius 2022), finite up to 448; 253 values.

    A later format than that of Wang 2018, who trained in 1-5-2.
    """

    exponent_bits, mantissa_bits, largest = 4, 3, 448.0


class E5M2Quantizer(FloatFormatQuantizer):
    """FP8 E5M2, the 1-5-2 format of Wang 2018, finite up to 57,344; 247 values.

    Not modelled besides: chunk-based FP16 accumulation, the stochastically rounded FP16 master weights.
    """

    exponent_bits, mantissa_bits, largest = 5, 2, 57_344.0


class E2M1Quantizer(FloatFormatQuantizer):
    """FP4 E2M1 (OCP microscaling formats, 2023): 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; 15 values.

    The standard's shared power-of-two scale for every 32 values is not modelled: there is one scale a tensor.
    """

    exponent_bits, mantissa_bits, largest = 2, 1, 6.0
