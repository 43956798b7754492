"""DoReFa-Net (Zhou 2016): weights squeezed by a hyperbolic tangent onto 2^k evenly spaced levels."""

import torch
from torch import Tensor

from repro.quant.base import WeightQuantizer
from repro.quant.functional import ABSMAX_EPSILON, straight_through


class DorefaQuantizer(WeightQuantizer):
    """Weights 2 quantize_k(tanh(W) / (2 max(abs(tanh(W)))) + 1/2) - 1 (equations 9 and 10): from -1 to 1, no zero.

    The gradient passes straight through the rounding only, and through the tangent and the maximum as it is. The
    weights have the size of 1 whatever the layer's fan-in: batch norm takes it out, the last layer has none.

    Modelled: the weights; activations are the ``dorefa`` activation quantiser. Not modelled: quantised gradients.
    The original keeps first and last layer in FP32 (``quantized_layers: inner``).
    """

    scale_invariant = False  # the tangent bends large weights more

    def __init__(self, weight: Tensor, bit_width: int) -> None:
        """``weight`` gives nothing here."""
        super().__init__(bit_width)
        self.quant_max = 2**bit_width - 1

    def scale(self, weight: Tensor) -> Tensor:
        """Width of one level, 2 / (2^k - 1), whatever the weights."""
        return weight.new_full((), 2 / self.quant_max, requires_grad=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights; the gradient is that of equation 9 with a straight-through rounding."""
        levels = straight_through(torch.round, self._normalize(weight))
        centered: Tensor = (levels - self.quant_max / 2) * self.scale(weight)
        return centered

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Level less 2^(k-1), and the width of one level."""
        levels = self._normalize(weight).round_() - 2 ** (self.bit_width - 1)
        return levels.to(torch.int8), self.scale(weight)

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Levels lie half a width beside zero: (code + 1/2) times width."""
        return (codes + 0.5) * scale

    def _normalize(self, weight: Tensor) -> Tensor:
        """From 0 to 2^k - 1; the epsilon, which the original lacks, gives all-zero weights a finite gradient."""
        squeezed = torch.tanh(weight)
        normalized: Tensor = (squeezed / (2 * squeezed.abs().amax() + ABSMAX_EPSILON) + 0.5) * self.quant_max
        return normalized
