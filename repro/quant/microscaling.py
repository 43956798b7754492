"""4-bit floating point with a small scale for each small block: MXFP4 (OCP) and NVFP4 (NVIDIA)."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from repro.quant.base import nonzero
from repro.quant.float_formats import E2M1Quantizer

E2M1_EXPONENT = 2  # of its largest power of two, 4
E4M3_LARGEST, E4M3_SMALLEST = 448.0, 2.0**-9
SMALLEST_POWER = 2.0**-126  # FP32's smallest normal; E8M0 has one less, to which blocks of zeros would go


class BlockE2M1Quantizer(E2M1Quantizer):
    """E2M1 values times the scale of their block: consecutive weights of one output channel, the last block shorter.

    Values beyond the largest, 6, go to it; ties to even. Modelled: weights of the forward pass, with a straight-through
    gradient. Not modelled: activations and gradients in the format, stochastic rounding, rotations, and scales stored
    in 8 bits: a file here holds each in 32, so that packed sizes count 3 bytes a block too many.

    Attributes:
        block: Weights of a block.
    """

    block: ClassVar[int]

    def scale(self, weight: Tensor) -> Tensor:
        """Scale of each block; [C, blocks, 1]."""
        return self.block_scales(self.blocks(weight.detach()).abs().amax(dim=2, keepdim=True))

    def block_scales(self, largest: Tensor) -> Tensor:
        """The format's scales from the largest magnitude of each block, [C, blocks, 1]."""
        raise NotImplementedError

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Signed rank of the nearest value, and the scales."""
        scale = self.scale(weight)
        return self.whole(self.ranks(self.blocks(weight) / scale), weight.shape).to(torch.int8), scale

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Value of the rank times the scale of its block."""
        return self.whole(super().dequantize(self.blocks(codes), scale), codes.shape)

    def blocks(self, tensor: Tensor) -> Tensor:
        """[C, blocks, block], filled up with zeros."""
        rows = tensor.reshape(len(tensor), -1)
        return pad(rows, (0, -rows.shape[1] % self.block)).reshape(len(rows), -1, self.block)

    @staticmethod
    def whole(blocks: Tensor, shape: torch.Size) -> Tensor:
        """Back from blocks to the weight's shape."""
        return blocks.flatten(1)[:, : shape[1:].numel()].reshape(shape)


class MXFP4Quantizer(BlockE2M1Quantizer):
    """OCP Microscaling MXFP4 (specification 1.0, 2023): 32 values share a power of two; 4.25 bits a weight.

    It is 2^(floor(log2(largest magnitude)) - 2) (section 6.3), so that values up to 8 of its units are clipped to 6.
    Checked against microsoft/microxcaling, whose default rounds ties away from zero.
    """

    scale_invariant = True
    block = 32

    def block_scales(self, largest: Tensor) -> Tensor:
        """A power of two a block."""
        exponent = torch.frexp(nonzero(largest.float())).exponent - 1 - E2M1_EXPONENT
        return torch.ldexp(torch.ones_like(largest), exponent).clamp_min(SMALLEST_POWER) + 0 * largest


class NVFP4Quantizer(BlockE2M1Quantizer):
    """NVFP4: 16 values share an FP8 E4M3 scale, and the tensor an FP32 one, max(abs(W)) / (6 x 448); 4.5 bits a weight.

    A block's scale is its largest magnitude over 6, in units of the tensor's, rounded to E4M3; kept at E4M3's smallest
    value or above, so that no block divides by zero. As NVIDIA describes it (arXiv 2509.25149, whose blocks of weights
    in training are 16 x 16 and are not modelled), checked against torchao, which keeps scales at E4M3's smallest normal
    number, 2^-6.
    """

    scale_invariant = True
    block = 16

    def block_scales(self, largest: Tensor) -> Tensor:
        """E4M3 times the tensor's scale."""
        tensor = nonzero(largest.float().amax() / (self.largest * E4M3_LARGEST))
        scaled = (largest / self.largest / tensor).clamp(E4M3_SMALLEST, E4M3_LARGEST)
        return nonzero(scaled.to(torch.float8_e4m3fn).float() * tensor)
