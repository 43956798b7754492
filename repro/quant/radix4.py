"""4-bit training after IBM (Sun 2020): INT4 weights, and gradients on a radix-4 FP4 grid, rounded twice."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from repro.quant.base import nonzero
from repro.quant.functional import absmax_plain
from repro.quant.uniform import UniformQuantizer

# Choi 2019 ("Accurate and efficient 2-bit quantized neural networks"), fit over six distributions for 4 bits
SAWB_RMS, SAWB_MEAN = 12.68, 12.80
RADIX4_LARGEST = 4.0**3
EXPONENT_ONE = 1 << 23  # the lowest bit of an FP32 number's exponent
EVEN_EXPONENTS = 0x7F00_0000


def radix4(values: Tensor) -> Tensor:
    """Nearest of 0 and +-4^-3, 4^-2, ..., 4^3, the values of FP4 with 1 sign and 3 exponent bits.

    Between 4^(n-1) and 4^n it rounds at 4^n / 1.6, the middle of the two. Beyond 4^3 it saturates.

    Args:
        values: FP32, any shape.

    Returns:
        ``values``' shape; zero for NaN, which ``radix4_phases`` keeps by its scale.
    """
    magnitude = values.abs()
    # 1.6 |x| rounded down to a power of four. Of an FP32 number's bits it keeps the exponent, whose bias is odd: one
    # added, the lowest bit cleared and one taken away leave it where the true exponent is even, and one less else.
    bits = (magnitude * 1.6).view(torch.int32).add_(EXPONENT_ONE).bitwise_and_(EVEN_EXPONENTS).sub_(EXPONENT_ONE)
    power = bits.view(torch.float32).clamp_(1 / RADIX4_LARGEST, RADIX4_LARGEST)
    return power.copysign_(values).mul_(magnitude > 0.5 / RADIX4_LARGEST)


def radix4_phases(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The output gradient rounded to even powers of two, and to odd ones (two-phase rounding).

    The even one gives the input's gradient, the odd one the weight's. Both grids together are twice as
    fine as either, and each rounds up where the other rounds down.

    Args:
        gradient: Gradient of a layer's output, any shape, FP32 or bfloat16.

    Returns:
        Both in ``gradient``'s shape and dtype. Scaled by a power of two so that the largest magnitude lies in
        [32, 64), where GradScale's factor of two a step, up or down, ends; here at once, from this very gradient.
    """
    ratio = nonzero(absmax_plain(gradient).float() / RADIX4_LARGEST)
    # the power of two above; NaN where the gradient has lost its numbers
    scale = ratio / torch.frexp(ratio).mantissa
    values = gradient.float() / scale
    even, odd = radix4(values), radix4(values.mul_(2))
    return even.mul_(scale).to(gradient.dtype), odd.mul_(scale / 2).to(gradient.dtype)


class _TwoPhase(torch.autograd.Function):
    """A layer whose input and weight get their gradients from two roundings of the output's gradient."""

    @staticmethod
    def forward(ctx: Any, layer: Callable[..., Tensor], phases: Callable[..., Any], *operands: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.leaves = [operand.detach().requires_grad_(operand.requires_grad) for operand in operands]
            ctx.output = layer(*ctx.leaves)
        ctx.phases = phases
        result: Tensor = ctx.output.detach()
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        for_input, for_weight = ctx.phases(gradients[0])
        inputs, *parameters = ctx.leaves
        of_input: Tensor | None = None
        if inputs.requires_grad:
            (of_input,) = torch.autograd.grad(ctx.output, inputs, for_input, retain_graph=True)
        return None, None, of_input, *torch.autograd.grad(ctx.output, parameters, for_weight)


def two_phase(
    layer: Callable[..., Tensor],
    phases: Callable[[Tensor], tuple[Tensor, Tensor]],
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
) -> Tensor:
    """``layer(inputs, weight, bias)``; backwards the input's gradient comes from the first of ``phases(gradient)``
    and those of weight and bias from the second.
    """  # noqa: D205
    if not torch.is_grad_enabled():
        return layer(inputs, weight, bias)
    operands = [tensor for tensor in (inputs, weight, bias) if tensor is not None]
    result: Tensor = _TwoPhase.apply(lambda x, w, b=None: layer(x, w, b), phases, *operands)
    return result


class Int4Radix4Quantizer(UniformQuantizer):
    """INT4 weights with the statistics-aware clip (SAWB), output gradients in radix-4 FP4 with two-phase rounding.

    The clip is c = 12.68 sqrt(mean(W^2)) - 12.80 mean(abs(W)). It falls below zero for weights of nearly one
    magnitude, as no trained layer has; it is kept at mean(abs(W)) or above, which the original does not say.

    Modelled: weights, the grids, rounding points and phases of the gradient, and the range that GradScale settles
    in. Not modelled: PACT activations (``activation_quantizer: pact`` adds them), FP16 accumulators and updates, the
    overflow while GradScale's stored scale adapts, and layers that the original leaves at more bits, the first and
    the last among them. Which phase serves which product is our reading.
    """

    scale_invariant = True

    def __init__(self, weight: Tensor) -> None:
        """``weight`` gives nothing here."""
        super().__init__(bit_width=4)
        self.gradient_phases = radix4_phases

    def clip_bound(self, weight: Tensor) -> Tensor:
        """SAWB's bound now."""
        magnitude = weight.detach().abs()
        mean = magnitude.mean()
        return nonzero(torch.maximum(SAWB_RMS * magnitude.square().mean().sqrt() - SAWB_MEAN * mean, mean))
