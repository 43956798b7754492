"""A layer whose quantised weight is stored and no longer trained: after PTQ, or read from a packed file."""

import torch
from torch import Tensor

from repro.quant.base import WeightQuantizer


class FrozenQuantizer(WeightQuantizer):
    """Gives the weight that its codes and scale stand for, whatever the layer's latent weight."""

    stored_codes: Tensor
    stored_scale: Tensor

    def __init__(self, codes: Tensor, scale: Tensor, bit_width: int) -> None:
        """Hold codes and scale.

        Args:
            codes: int8, the weight's shape.
            scale: Width of one level in weight units; scalar, or a shape that broadcasts to ``codes``.
            bit_width: Bits a code needs.
        """
        super().__init__(bit_width)
        self.register_buffer("stored_codes", codes.to(torch.int8))
        self.register_buffer("stored_scale", scale)

    def scale(self, weight: Tensor) -> Tensor:
        """The stored scale."""
        return self.stored_scale

    def forward(self, weight: Tensor) -> Tensor:
        """Codes as weights; ``weight`` gives nothing."""
        return self.dequantize(self.stored_codes, self.stored_scale)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """What is stored."""
        return self.stored_codes, self.stored_scale
