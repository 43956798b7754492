"""Clipping bounds that are trained with the weights: section VII of the paper leaves them to future work."""

from typing import Any

import torch
from torch import Tensor, nn

from repro.quant.functional import absmax, fake_quantize
from repro.quant.lsq import usable
from repro.quant.uniform import UniformQuantizer


class _ClippedWeight(torch.autograd.Function):
    """clamp(W, -c, c) and its rounding forwards; PACT's gradients backwards, for a grid on both sides of zero."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bound: Tensor, quant_max: int) -> Tensor:
        ctx.save_for_backward(weight, bound)
        return fake_quantize(weight, usable(bound) / quant_max, quant_max)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        weight, bound = ctx.saved_tensors
        outside = weight.abs() >= usable(bound)
        to_bound = (gradients[0] * torch.sign(weight) * outside).sum()
        return gradients[0] * ~outside, to_bound, None


class LearnedClipQuantizer(UniformQuantizer):
    """The paper's grid within a bound c of each layer that is a parameter, as PACT's (Choi 2018, section 3) is.

    The gradient of c is that of clamp(W, -c, c): the sum of the gradients of the clipped weights, with their sign;
    clipped weights get none, the rounding passes it on. c starts at the initial weight's largest magnitude times a
    factor, and is trained with the weights. PACT's L2 regularisation draws its bound down; here the optimiser's decay
    stands for it, which decoupled AdamW makes next to nothing (1.2 % of the bound in the paper's 150 epochs). So c
    moves only where a weight reaches it, and cannot follow weights that the paper's soft clip shrinks: their codes come
    down to zero, in the end those of whole layers. Use ``weight_clip: none`` unless it is this that is to be seen. Our
    reading of the paper's outlook, which says no more than that bounds might be learned; PACT has it for activations.
    """

    scale_invariant = False

    def __init__(self, weight: Tensor, bit_width: int, initial_factor: float = 1.0) -> None:
        """Start from a layer's initial weight.

        Args:
            weight: The weight, from whose largest magnitude the bound starts.
            bit_width: Bits of a weight.
            initial_factor: Factor on the first bound.
        """
        super().__init__(bit_width)
        self.clip = nn.Parameter(absmax(weight) * initial_factor)

    def clip_bound(self, weight: Tensor) -> Tensor:
        """The learned bound, kept above zero."""
        return usable(self.clip)

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, with gradients for weight and bound."""
        result: Tensor = _ClippedWeight.apply(weight, self.clip, self.quant_max)
        return result


class LearnedSoftClipQuantizer(UniformQuantizer):
    """The paper's soft clip b tanh(W / b) (equation 9) in the forward pass, with a trained bound b of each layer.

    The paper applies it to the stored weights after each step, with b = 3; there no gradient reaches b. Here the
    latent weights stay, their bounded form is quantised by the paper's absmax, and the gradients of weight and bound
    are those of b tanh(W / b), straight through the rounding. Use it with ``weight_clip: none``. Adam moves b by about
    the rate a step, so a run whose rates sum to less than b, as at scale ``short`` (1.5 from 3), hardly learns it. Our
    reading of the outlook of section VII.
    """

    scale_invariant = False

    def __init__(self, weight: Tensor, bit_width: int, bound: float) -> None:
        """``bound`` is b before training, in weight units: 3 in the paper."""
        super().__init__(bit_width)
        self.clip = nn.Parameter(torch.tensor(bound, dtype=weight.dtype, device=weight.device))

    def bounded(self, weight: Tensor) -> Tensor:
        """The weight after the soft clip, b tanh(W / b)."""
        bound = self.clip.clamp_min(torch.finfo(torch.float32).eps)
        result: Tensor = bound * torch.tanh(weight / bound)
        return result

    def clip_bound(self, weight: Tensor) -> Tensor:
        """Largest magnitude of the bounded weight."""
        return absmax(self.bounded(weight))

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, with gradients for weight and bound."""
        bounded = self.bounded(weight)
        return fake_quantize(bounded, absmax(bounded) / self.quant_max, self.quant_max)

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes of the bounded weight, and the width of one level."""
        bounded = self.bounded(weight)
        scale = absmax(bounded) / self.quant_max
        return (bounded / scale).round_().clamp_(-self.quant_max, self.quant_max).to(torch.int8), scale
