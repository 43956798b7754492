"""Element-wise gradient scaling (Lee, Kim, Ham 2021, "Network Quantization with Element-wise Gradient Scaling")."""

from typing import Any

import torch
from torch import Tensor

from repro.quant.functional import fake_quantize
from repro.quant.uniform import AbsmaxQuantizer


class _ScaledGradient(torch.autograd.Function):
    """The paper's Q(W) forwards, g (1 + d sign(g) (W / s - code)) backwards."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, quant_max: int, delta: float) -> Tensor:
        result = fake_quantize(weight, scale, quant_max)
        ctx.save_for_backward(weight - result, scale)
        ctx.delta = delta
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        error, scale = ctx.saved_tensors
        gradient = gradients[0]
        return gradient * (1 + ctx.delta * gradient.sign() * (error / scale)), None, None, None


class EwgsQuantizer(AbsmaxQuantizer):
    """The paper's absmax forwards; backwards a weight's gradient grows where it moves the weight back to its level.

    So the forward pass is the main run's bit for bit, and what differs is the backward rule (equation 5, checked
    against cvlab-yonsei/EWGS). Here d counts in levels; theirs counts in the range of all levels, so that theirs is
    this one times the number of levels less one. Not modelled: d from the Hessian's trace in each layer, learned bounds
    of the interval, a learned scale of the output, and activations.
    """

    def __init__(self, weight: Tensor, bit_width: int, delta: float) -> None:
        """``delta`` is d; a gradient changes by half of that share at most, except beyond the last level."""
        super().__init__(weight, bit_width)
        self.delta = delta

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, ``weight``'s shape."""
        result: Tensor = _ScaledGradient.apply(weight, self.scale(weight), self.quant_max, self.delta)
        return result
