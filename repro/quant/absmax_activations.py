"""The paper's absmax for activations: 4-bit inputs, which its section VII leaves to future work."""

import torch
from torch import Tensor

from repro.quant.activations import ActivationQuantizer, clipped_round
from repro.quant.lsq import SMALLEST_STEP


class AbsmaxActivations(ActivationQuantizer):
    """The scale of each batch from its own largest input (equations 1 to 5), in training and in evaluation.

    Inputs are not negative after ReLU, so that all 2^k codes are used where the paper's grid for weights would leave
    half of them empty. The gradient is straight-through and no input is clipped. What a batch computes depends
    on its other images, a little: the price of a dynamic scale for a whole tensor.
    """

    def scale_of(self, inputs: Tensor) -> Tensor:
        """Largest input over 2^k - 1, a scalar."""
        width: Tensor = inputs.detach().float().amax().clamp_min(SMALLEST_STEP) / self.quant_max
        return width

    def forward(self, inputs: Tensor) -> Tensor:
        """Codes times scale; the gradient passes where the input is not negative."""
        everything = inputs.new_full((), torch.inf)
        return clipped_round(inputs, everything, self.scale_of(inputs), self.quant_max)

    @torch.no_grad()
    def codes(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of a batch and its scale."""
        scale = self.scale_of(inputs)
        return (inputs.float() / scale).round_().clamp_(0, self.quant_max).to(torch.uint8), scale


class MovingAbsmaxActivations(ActivationQuantizer):
    """The same with a moving average of the batches' largest inputs, which stands still in evaluation.

    The first batch sets it; each later one moves it by the share ``momentum`` and is then quantised with it. Larger
    inputs are clipped and get no gradient.
    """

    bound: Tensor
    started: Tensor

    def __init__(self, bit_width: int, momentum: float) -> None:
        """``momentum`` is the share of a new batch; the bound is 1 until training starts."""
        super().__init__(bit_width)
        self.momentum = momentum
        self.register_buffer("bound", torch.ones(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def scale(self) -> Tensor:
        """The moving bound over 2^k - 1."""
        width: Tensor = self.bound.clamp_min(SMALLEST_STEP) / self.quant_max
        return width

    def forward(self, inputs: Tensor) -> Tensor:
        """Codes times scale; the gradient passes within the bound."""
        if self.training:
            with torch.no_grad():
                largest = inputs.detach().float().amax().clamp_min(0)
                share = torch.where(self.started, self.momentum, 1.0)  # on the device: nothing waits for it
                self.bound.lerp_(largest, share)
                self.started.fill_(True)
        return clipped_round(inputs, self.bound.clone(), self.scale(), self.quant_max)
