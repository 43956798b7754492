"""Additive powers of two (Li, Dong, Wang 2020)."""

from typing import Any

import torch
from torch import Tensor, nn

from repro.quant.base import WeightQuantizer, nonzero
from repro.quant.lsq import usable


def apot_magnitudes(bits: int) -> Tensor:
    """The 2^bits magnitudes, ascending from 0 to 1: sums of one power of two, or none, from each of a few sets.

    n = bits // 2 sets have three powers each, at every n-th exponent (equation 5 with base bit width 2); for an odd
    number of bits one more set has one power, and the last exponents make room for it. So the official code has it
    for 2 to 6 bits besides the sign; it goes on to 7 here, and 1 bit is 0 and 1.
    """
    sets, odd = bits // 2, bits % 2
    powers = [[0.0, *(2.0 ** -(place + turn * sets + odd * (turn == 2)) for turn in range(3))] for place in
              range(1, sets + 1)]  # fmt: skip
    powers += [[0.0, 2.0 ** -(2 * sets + 1)]] * odd
    sums = torch.cartesian_prod(*(torch.tensor(values) for values in powers)).reshape(2**bits, -1).sum(1)
    return sums.sort().values / sums.max()


class _ApotRound(torch.autograd.Function):
    """Nearest level of x / c times c forwards; the official code's gradients backwards."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, clip: Tensor, quantizer: "ApotQuantizer") -> Tensor:
        clip = usable(clip)
        result = quantizer.dequantize(quantizer.rank(values, clip), clip)
        ctx.save_for_backward(values, clip, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        values, clip, result = ctx.saved_tensors
        ratio = values / clip
        slope = torch.where(ratio.abs() > 1, ratio.sign(), result / clip - ratio)
        return gradients[0], (gradients[0] * slope).sum(), None


class ApotQuantizer(WeightQuantizer):
    """Levels are sums of powers of two, within a learned clip, of weights brought to mean 0 and deviation 1.

    The weights have the size of the clip, 3 at the start, whatever the layer's fan-in: batch norm takes it out. The
    clip's gradient is the sign where a weight is clipped and level less weight elsewhere (equation 8); the weight's is
    straight-through everywhere, and mean and deviation get none.

    Modelled: weights, checked against the official code (yhhhli/APoT_Quantization). Not modelled: activations with
    such levels, the network trained in full precision from which it starts (``start_from`` does that), and 8 bits in
    the first and the last layer, which ``quantized_layers: inner`` leaves in FP32.
    """

    scale_invariant = True  # of weights divided by their deviation
    magnitudes: Tensor
    boundaries: Tensor

    def __init__(self, weight: Tensor, bit_width: int) -> None:
        """``weight`` gives only the device."""
        super().__init__(bit_width, max_levels=2**bit_width - 1)
        magnitudes = apot_magnitudes(bit_width - 1).to(weight.device)
        self.register_buffer("magnitudes", magnitudes, persistent=False)
        self.register_buffer("boundaries", (magnitudes[1:] + magnitudes[:-1]) / 2, persistent=False)
        self.clip = nn.Parameter(torch.tensor(3.0, device=weight.device))

    def scale(self, weight: Tensor) -> Tensor:
        """The clip, which is the largest level."""
        return usable(self.clip)

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, with gradients for weight and clip."""
        result: Tensor = _ApotRound.apply(_normalized(weight), self.clip, self)
        return result

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Rank of the magnitude, with the weight's sign, and the clip."""
        return self.rank(_normalized(weight), self.scale(weight)), self.scale(weight)

    def rank(self, values: Tensor, clip: Tensor) -> Tensor:
        """Signed rank of the level nearest to ``values / clip``, int8."""
        ratio = values / clip
        rank = torch.bucketize(ratio.abs().contiguous(), self.boundaries, out_int32=True)
        return (rank * ratio.sign()).to(torch.int8)

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Magnitude of the rank, signed, times clip."""
        wide = codes.int()
        weight: Tensor = self.magnitudes[wide.abs()] * torch.sign(wide) * scale
        return weight


def _normalized(weight: Tensor) -> Tensor:
    fixed = weight.detach()
    return (weight - fixed.mean()) / nonzero(fixed.std())
