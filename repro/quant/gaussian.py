"""Gaussian weight sampling: noise in place of rounding while a network trains (Ahn and Yoo 2025, arXiv 2505.11170)."""

import torch
from torch import Tensor

from repro.quant.uniform import AbsmaxQuantizer


class GaussianNoiseQuantizer(AbsmaxQuantizer):
    """In training W + R s, R = round(N(0, 1) / 2) of each weight and s the width of a level; in evaluation absmax.

    Two weights of three keep their value in a step, the others move by a level, rarely by two. The gradient of W is the
    identity's: nothing is rounded, so that nothing is straight-through. Noise comes from the run's own generator, so
    that a resumed run goes on with its bits.

    Modelled: the noise's distribution and that it is added in units of the level, by the paper's abstract and by four
    public reviews of its second version ("Differentiable, Stable and Efficient Floating-Point Quantization"). Not
    checked: the paper's text and code, which could not be had. Deviations: one scale a layer, the paper's
    max(abs(W)) / (2^(b-1) - 1), in place of a maximum for each square block, so that a network can be rounded to the
    grid of its noise; batch norm's statistics are those of the noisy weights, whose spread is some per cent above the
    rounded ones'. Not modelled: bit widths that are learned block by block, which are the method's use at more than
    4 bits, the cast to BF16 or a small float format, and noise from bitwise operations.
    """

    noisy = True
    generator: torch.Generator | None = None

    def forward(self, weight: Tensor) -> Tensor:
        """Weights with noise in training, dequantised ones in evaluation; ``weight``'s shape."""
        if not self.training:
            return super().forward(weight)
        drawn = torch.empty_like(weight, requires_grad=False).normal_(generator=self.generator)
        return weight + drawn.div_(2).round_().mul_(self.scale(weight))
