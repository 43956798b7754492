"""Codebooks with a scale of their own for each small block of weights."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from repro.quant.base import WeightQuantizer, nonzero

NF4_BLOCK = 64


def nf4_levels() -> Tensor:
    """The 16 values of 4-bit NormalFloat, ascending from -1 to 1 with an exact 0 (Dettmers 2023, appendix E).

    Quantiles of the standard normal at 8 evenly spaced probabilities on the positive and 7 on the negative side,
    from an offset that leaves both tails the mean of half a 15th and half a 16th, divided by the largest.
    """
    offset = 1 - (1 / 30 + 1 / 32) / 2
    positive, negative = (
        torch.special.ndtri(torch.linspace(offset, 0.5, count + 1, dtype=torch.float64)[:-1]) for count in (8, 7)
    )
    levels = torch.cat([-negative, torch.zeros(1, dtype=torch.float64), positive]).sort().values
    return (levels / levels.abs().amax()).float()


class NF4Quantizer(WeightQuantizer):
    """QLoRA's NF4 (Dettmers 2023): nearest of 16 normal quantiles after division by the block's largest magnitude.

    Blocks are 64 consecutive weights of the flattened tensor (logical order), the last one possibly shorter.
    Modelled: codebook and block scales (FP32), as fake quantisation of weights that are trained from scratch with a
    straight-through gradient. Not modelled: the frozen base with low-rank adapters, which is all that QLoRA trains,
    the second quantisation of the block scales, and paged optimisers.
    """

    scale_invariant = True
    levels: Tensor
    boundaries: Tensor

    def __init__(self, weight: Tensor) -> None:
        """``weight`` gives only the device."""
        super().__init__(bit_width=4)
        levels = nf4_levels().to(weight.device)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("boundaries", (self.levels[1:] + self.levels[:-1]) / 2, persistent=False)

    def scale(self, weight: Tensor) -> Tensor:
        """Largest magnitude of each block; [blocks]."""
        return nonzero(_blocks(weight.detach()).abs().amax(dim=1))

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Index in the codebook less 8, and the block scales."""
        scale = self.scale(weight)
        index = torch.bucketize(_blocks(weight) / scale[:, None], self.boundaries, out_int32=True)
        return (index - 8).to(torch.int8).flatten()[: weight.numel()].view(weight.shape), scale

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Codebook entry times block scale."""
        values = self.levels[_blocks(codes).int() + 8] * scale[:, None]
        return values.flatten()[: codes.numel()].view(codes.shape)


def _blocks(tensor: Tensor) -> Tensor:
    """[blocks, 64], filled up with zeros."""
    flat = tensor.reshape(-1)
    return pad(flat, (0, -len(flat) % NF4_BLOCK)).view(-1, NF4_BLOCK)
