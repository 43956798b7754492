"""Learned step size quantisation (Esser 2020): the width of a level is trained with the weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from repro.quant.base import WeightQuantizer

# A step is kept from zero and below: Adam moves it by up to the learning rate at once, whatever its size.
SMALLEST_STEP = 1e-8


class _LearnedStep(torch.autograd.Function):
    """Equations 1 and 2 forwards, 3 and 5 backwards; in FP32, the result in the dtype of the values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, low: int, high: int, gradient_scale: float) -> Tensor:
        ctx.save_for_backward(values, step)
        ctx.low, ctx.high, ctx.gradient_scale = low, high, gradient_scale
        step = usable(step)
        return (values.float() / step).round_().clamp_(low, high).mul_(step).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        values, step = ctx.saved_tensors
        ratio = values.float() / usable(step)
        inside = (ratio > ctx.low) & (ratio < ctx.high)
        slope = ratio.round().clamp_(ctx.low, ctx.high).sub_(ratio.mul_(inside))
        step_gradient = slope.mul_(gradients[0]).sum() * ctx.gradient_scale
        return gradients[0] * inside, step_gradient, None, None, None


def learned_step(values: Tensor, step: Tensor, low: int, high: int, count: int) -> Tensor:
    """Round ``values / step`` to whole numbers from ``low`` to ``high`` and scale back (equations 1 and 2).

    Args:
        values: Any shape.
        step: Width of one level, a scalar parameter.
        low: Smallest code, ``-Q_N``.
        high: Largest code ``Q_P``.
        count: Number N of weights or features, which scales the step's gradient by 1 / sqrt(N Q_P) (section 2.2).

    Returns:
        ``values``' shape and dtype. Gradient of the values: passed between the clipping points, else zero
        (equation 5); of the step: equation 3.
    """
    result: Tensor = _LearnedStep.apply(values, step, low, high, 1 / math.sqrt(count * high))
    return result


def initial_step(values: Tensor, high: int) -> Tensor:
    """2 mean(abs(v)) / sqrt(Q_P) (section 2.1)."""
    return usable(2 * values.detach().float().abs().mean() / math.sqrt(high))


def usable(step: Tensor) -> Tensor:
    """The step, kept above zero; the original has no such guard."""
    return step.detach().clamp_min(SMALLEST_STEP)


class LsqQuantizer(WeightQuantizer):
    """LSQ weights: codes from -2^(b-1) to 2^(b-1) - 1, one learned step a layer.

    The step is a parameter: AdamW trains it, weight decay and global gradient clip included. Adam divides every
    gradient by its size, so the paper's gradient scale, made for SGD, acts here through the gradient clip alone.

    Modelled: weights; activations are the ``lsq`` activation quantiser. The start from a trained FP32 network is the
    experiment's ``start_from``. Not modelled: 8 bits in the first and last layer, which ``quantized_layers: inner``
    leaves in FP32.
    """

    scale_invariant = False  # the step is a parameter, not a function of the weights

    def __init__(self, weight: Tensor, bit_width: int, initial_factor: float = 1.0) -> None:
        """Start from a layer's initial weight.

        Args:
            weight: The weight, from which the step starts.
            bit_width: Bits of a weight.
            initial_factor: Factor on the first step: 1 is the original's, another one a start that is off.
        """
        super().__init__(bit_width)
        self.low, self.high = -(2 ** (bit_width - 1)), 2 ** (bit_width - 1) - 1
        self.step = nn.Parameter(initial_step(weight, self.high) * initial_factor)

    def scale(self, weight: Tensor) -> Tensor:
        """The learned step."""
        return usable(self.step)

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, with gradients for weight and step."""
        return learned_step(weight, self.step, self.low, self.high, weight.numel())

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes and the step."""
        step = usable(self.step)
        return (weight / step).round_().clamp_(self.low, self.high).to(torch.int8), step
