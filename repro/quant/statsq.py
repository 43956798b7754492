"""StatsQ, the weights of oscillation-free quantisation (Liu, Liu, Cheng 2023)."""

import torch
from torch import Tensor

from repro.quant.base import WeightQuantizer, nonzero


class StatsQuantizer(WeightQuantizer):
    """2^k levels within twice the mean magnitude of each output channel: a statistic, since a learned step oscillates.

    W / (2 mean(abs(W))), clipped to [-1, 1], goes to the nearest of (code + 1/2) / 2^(k-1), codes -2^(k-1) to
    2^(k-1) - 1: there is no zero. The gradient is straight-through everywhere, and the mean gets none.

    Modelled: the quantiser, checked against the official code (nbasyl/OFQ), one scale an output channel also for
    convolutions, which OFQ quantises by LSQ. Confidence-guided annealing is ``statsq_annealed``. Not modelled: the
    change to queries and keys of a transformer; its activations, and distillation.
    """

    scale_invariant = True

    def __init__(self, weight: Tensor, bit_width: int) -> None:
        """``weight`` gives nothing here."""
        super().__init__(bit_width)
        self.positive = 2 ** (bit_width - 1)

    def scale(self, weight: Tensor) -> Tensor:
        """Width of one level of each channel, [C, 1, ...]."""
        mean = weight.detach().abs().flatten(1).mean(dim=1).reshape(-1, *[1] * (weight.dim() - 1))
        return nonzero(2 * mean / self.positive)

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Level below the weight, and the widths."""
        scale = self.scale(weight)
        return (weight / scale - 0.5).round_().clamp_(-self.positive, self.positive - 1).to(torch.int8), scale

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Levels lie half a width beside zero: (code + 1/2) times width."""
        return (codes + 0.5) * scale
