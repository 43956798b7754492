"""Ternary weights of a rotated convolution: outliers are spread over its input channels before they are rounded."""

import math

import torch
from torch import Tensor

from repro.quant.base import WeightQuantizer, nonzero

LARGEST_BLOCK = 256  # channels that are mixed


def hadamard(size: int) -> Tensor:
    """The orthonormal, symmetric Hadamard matrix of Sylvester; ``size`` is a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix / math.sqrt(size)


class HadamardTernaryQuantizer(WeightQuantizer):
    """BitNet's absmean ternary weights (``ternary``), of W H in place of W: H mixes the input channels in blocks.

    H is its own inverse, so the layer computes with Q(W H) H, and the rotation changes the rounding alone. A block is
    the largest power of two up to 256 that divides the number of input channels; three colours are not mixed. The
    gradient is straight-through, to which an orthonormal rotation and its inverse change nothing.

    The idea is that of ITQ3_S (Yoon 2026, arXiv 2603.27914: a Walsh-Hadamard transform of 256 weights before ternary
    codes), and of QuaRot (Ashkboos et al. 2024). Checked: ITQ3_S's transform and blocks, by two summaries of the paper.
    Not checked: the paper's text; its code is not released. So its interleaved storage and scales are not modelled; in
    a file the codes here take 2 bits a weight.
    """

    scale_invariant = True
    rotation: Tensor

    def __init__(self, weight: Tensor) -> None:
        """``weight`` gives the number of input channels, and the device."""
        super().__init__(bit_width=2, max_levels=3)
        block = math.gcd(weight.shape[1], LARGEST_BLOCK)
        self.register_buffer("rotation", hadamard(block).to(weight.device), persistent=False)

    def scale(self, weight: Tensor) -> Tensor:
        """Mean magnitude of the rotated weights, a scalar."""
        return nonzero(self.rotate(weight.detach()).abs().mean())

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of the rotated weights, and the scale."""
        rotated = self.rotate(weight)
        scale = nonzero(rotated.abs().mean())
        return (rotated / scale).round_().clamp_(-1, 1).to(torch.int8), scale

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Rotated back."""
        return self.rotate(codes * scale)

    def rotate(self, weight: Tensor) -> Tensor:
        """W H over the input channels, block by block; ``weight``'s shape."""
        channels_last = weight.movedim(1, -1)
        blocks = channels_last.reshape(-1, len(self.rotation)) @ self.rotation
        rotated: Tensor = blocks.reshape(channels_last.shape).movedim(-1, 1)
        return rotated
