"""Equations 1-8 of the paper as functions of tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from repro.kernels import call_kernel, serves_elementwise

# Added to the largest weight, so that an all-zero layer has a scale. From the authors' recipe, not in the paper.
ABSMAX_EPSILON = 1e-8


def largest_code(bit_width: int) -> int:
    """``quant_max`` of the signed narrow range: 7 for 4 bits, so -7..7 and 15 levels (section III-A)."""
    return (1 << (bit_width - 1)) - 1


def absmax(weight: Tensor) -> Tensor:
    """Clipping bound c = max(abs(W)) + 1e-8 over the whole tensor (equation 5).

    Args:
        weight: Any shape, at least one element.

    Returns:
        A scalar tensor; NaN where ``weight`` holds a NaN.
    """
    return absmax_plain(weight) + ABSMAX_EPSILON


def absmax_plain(weight: Tensor) -> Tensor:
    """max(abs(W)), a scalar tensor, without the epsilon: exactly zero for an all-zero weight."""
    low, high = torch.aminmax(weight.detach())
    return torch.maximum(-low, high)


def quantize(weight: Tensor, scale: Tensor, quant_max: int) -> Tensor:
    """Integer codes clamp(round(W / s), -q, q), rounding half to even (equations 1 and 3).

    Equation 1's clamp to [-c, c] is contained in the clamp of the codes, since c / s = q.

    Args:
        weight: Any shape.
        scale: Width of one level in weight units; scalar, or a shape that broadcasts to ``weight``.
        quant_max: Largest code q.

    Returns:
        Whole numbers of ``weight``'s shape and floating dtype.
    """
    return torch.div(weight, scale).round_().clamp_(-quant_max, quant_max)


class _FakeQuantize(torch.autograd.Function):
    """Q(W) forwards, the identity backwards."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, quant_max: int) -> Tensor:
        if scale.numel() == 1 and scale.dtype == torch.float32 and serves_elementwise(weight):
            result = torch.empty_like(weight)
            call_kernel("fake_quantize", weight, result, weight.numel(), scale, float(quant_max))
            return result
        return quantize(weight, scale, quant_max).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


def fake_quantize(weight: Tensor, scale: Tensor, quant_max: int) -> Tensor:
    """Dequantised weights with a straight-through gradient (equations 4, 6 and 7).

    The paper writes W + (Q(W) - W).detach() (equation 8). Inside the clipping range W and Q(W)
    lie within a factor of two of each other, so that difference and sum are exact in floating
    point (Sterbenz) and both forms agree bit for bit; this one needs no copy of the weight.

    Args:
        weight: Latent weights, any shape.
        scale: Width of one level; scalar, or a shape that broadcasts to ``weight``.
        quant_max: Largest code.

    Returns:
        Codes times scale, ``weight``'s shape and dtype.
    """
    result: Tensor = _FakeQuantize.apply(weight, scale, quant_max)
    return result


class _StraightThrough(torch.autograd.Function):
    """A function of one tensor forwards, the identity backwards."""

    @staticmethod
    def forward(ctx: Any, function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        return function(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def straight_through(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """``function(values)`` with the gradient of the identity.

    Args:
        function: Gives a new tensor of the same shape and dtype.
        values: Any shape.
    """
    result: Tensor = _StraightThrough.apply(function, values)
    return result
