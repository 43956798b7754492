"""Activation quantisers: modules that a layer puts its input through."""

from typing import Any

import torch
from torch import Tensor, nn

from repro.quant.lsq import initial_step, learned_step, usable


class ActivationQuantizer(nn.Module):
    """Unsigned k-bit quantisation of a layer's input, which is never negative after ReLU.

    Arithmetic is FP32 also where the input is bfloat16, under autocast; the result has the input's dtype. There it
    is the grid rounded to bfloat16, as the convolution would round it anyway.

    Attributes:
        bit_width: Bits a code needs.
        quant_max: Largest code, 2^k - 1.
        max_levels: Largest number of distinct codes.
    """

    def __init__(self, bit_width: int) -> None:
        """``bit_width`` bits an activation."""
        super().__init__()
        self.bit_width = bit_width
        self.quant_max = 2**bit_width - 1
        self.max_levels = 2**bit_width

    def scale(self) -> Tensor:
        """Width of one level in units of the activation, a scalar tensor."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Codes times scale, differentiable; ``inputs``' shape and dtype."""
        raise NotImplementedError

    @torch.no_grad()
    def codes(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes (uint8, ``inputs``' shape) and scale; for FP32 their product has the bits of ``forward``."""
        scale = self.scale()
        return (inputs.float() / scale).round_().clamp_(0, self.quant_max).to(torch.uint8), scale


class _ClippedRound(torch.autograd.Function):
    """Rounding on an even grid from 0 to a bound; PACT's gradients (Choi 2018, section 3)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, bound: Tensor, scale: Tensor, quant_max: int) -> Tensor:
        ctx.save_for_backward(inputs, bound)
        return (inputs.float() / scale).round_().clamp_(0, quant_max).mul_(scale).to(inputs.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        inputs, bound = ctx.saved_tensors
        clipped = inputs >= bound
        to_bound = (gradients[0].float() * clipped).sum() if ctx.needs_input_grad[1] else None
        return gradients[0] * ((inputs >= 0) & ~clipped), to_bound, None, None


def clipped_round(inputs: Tensor, bound: Tensor, scale: Tensor, quant_max: int) -> Tensor:
    """Inputs on the grid of whole multiples of ``scale`` up to ``quant_max``; a gradient passes below ``bound``.

    Args:
        inputs: Any shape, FP32 or bfloat16.
        bound: A scalar; one with a gradient gets PACT's.
        scale: Width of one level, a scalar.
        quant_max: Largest code.

    Returns:
        ``inputs``' shape and dtype.
    """
    result: Tensor = _ClippedRound.apply(inputs, bound, scale, quant_max)
    return result


class PactActivations(ActivationQuantizer):
    """PACT (Choi 2018): inputs clipped to [0, a] and rounded to 2^k - 1 steps of it; the clip a is learned.

    The gradient of a is the sum of the output gradients where the input is clipped, and zero elsewhere. Its L2
    regularisation, which the paper needs, is here the optimiser's weight decay, decoupled and of one strength for
    all parameters: with AdamW next to nothing (a of 10 falls to 9.9 in the paper's 150 epochs), so that a stays where
    it starts unless inputs reach it. The clip replaces ReLU; after a ReLU it is the same function.
    """

    def __init__(self, bit_width: int, initial_clip: float) -> None:
        """``initial_clip`` is a before training, in units of the activation: large, so that nothing is clipped."""
        super().__init__(bit_width)
        self.clip = nn.Parameter(torch.tensor(initial_clip))

    def scale(self) -> Tensor:
        """The clip over 2^k - 1, kept above zero."""
        width: Tensor = usable(self.clip) / self.quant_max
        return width

    def forward(self, inputs: Tensor) -> Tensor:
        """Codes times scale, with gradients for input and clip."""
        return clipped_round(inputs, self.clip, self.scale(), self.quant_max)


class DorefaActivations(ActivationQuantizer):
    """DoReFa-Net (Zhou 2016): quantize_k of inputs clipped to [0, 1] (equation 11); nothing is learned."""

    one: Tensor

    def __init__(self, bit_width: int) -> None:
        """``bit_width`` bits an activation."""
        super().__init__(bit_width)
        self.register_buffer("one", torch.ones(()), persistent=False)

    def scale(self) -> Tensor:
        """1 / (2^k - 1)."""
        width: Tensor = self.one / self.quant_max
        return width

    def forward(self, inputs: Tensor) -> Tensor:
        """Codes times scale; the gradient passes where the input is inside [0, 1)."""
        return clipped_round(inputs, self.one, self.scale(), self.quant_max)


class LsqActivations(ActivationQuantizer):
    """LSQ (Esser 2020) for inputs: codes from 0 to 2^k - 1 with a learned step.

    The step starts from the first batch that it sees in training, 2 mean(abs(x)) / sqrt(2^k - 1). Whether it has
    is a buffer and the choice a tensor operation, so that a resumed run goes on with its bits and nothing waits
    for the device. N of the gradient scale is the number of features of one image.
    """

    started: Tensor

    def __init__(self, bit_width: int) -> None:
        """``bit_width`` bits an activation; the step is 1 until training starts."""
        super().__init__(bit_width)
        self.step = nn.Parameter(torch.ones(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def scale(self) -> Tensor:
        """The learned step."""
        return usable(self.step)

    def forward(self, inputs: Tensor) -> Tensor:
        """Codes times step, with gradients for input and step."""
        if self.training:
            with torch.no_grad():
                self.step.copy_(torch.where(self.started, self.step, initial_step(inputs, self.quant_max)))
                self.started.fill_(True)
        return learned_step(inputs, self.step, 0, self.quant_max, inputs[0].numel())
