"""What every weight quantiser is: codes, a scale, and the weights that both stand for."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from repro.quant.functional import straight_through


class WeightQuantizer(nn.Module):
    """Quantisation of one layer's weight, in FP32 also under bfloat16 autocast.

    A subclass says what ``codes``, ``scale`` and ``dequantize`` are; ``forward`` follows from them. Codes fit
    ``bit_width`` bits in two's complement (``-2^(b-1)`` to ``2^(b-1) - 1``), so that a file can pack them.

    Attributes:
        bit_width: Bits a code needs.
        max_levels: Largest number of distinct codes.
        noisy: Whether training computes with noise in place of rounding; codes are those of evaluation.
        scale_invariant: Whether the codes stay the same when all weights are multiplied by a power of two.
            Has no default: every method says so itself, and the contract test checks the claim.
        gradient_phases: Makes of a layer's output gradient the two from which the gradients of its input and of
            its weight are computed; ``None`` leaves the gradient as it is.
    """

    noisy: ClassVar[bool] = False
    scale_invariant: ClassVar[bool]

    def __init__(self, bit_width: int, max_levels: int | None = None) -> None:
        """``max_levels`` defaults to all codes that ``bit_width`` bits hold."""
        super().__init__()
        self.bit_width = bit_width
        self.gradient_phases: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
        self.max_levels = 2**bit_width if max_levels is None else max_levels

    def scale(self, weight: Tensor) -> Tensor:
        """Factor from the grid to weight units: the width of one level where the grid is uniform.

        A scalar, or one value a channel or block.
        """
        raise NotImplementedError

    def start_epoch(self, completed: int) -> None:
        """Hear, before each epoch of a training, how many are completed; most methods have no use for it."""

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, straight-through gradient; same shape as ``weight``."""
        return straight_through(lambda latent: self.dequantize(*self.codes(latent)), weight)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes (int8, ``weight``'s shape) and the scale that turns them into weights."""
        raise NotImplementedError

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """The weights that ``codes`` and ``scale`` stand for: the same bits as ``forward``."""
        return codes * scale


def nonzero(scale: Tensor) -> Tensor:
    """At least the smallest normal number, so that all-zero weights divide to zero; NaN stays visible."""
    return scale.clamp_min(torch.finfo(scale.dtype).tiny)
