"""AdaRound: whether each weight goes to the level below or above is learned (Nagel et al. 2020)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from repro.ptq.calibration import require_images, visit_inputs
from repro.ptq.clipping import mse_bound
from repro.ptq.frozen import freeze, per_channel
from repro.ptq.gptq import input_hessian
from repro.quant import QuantLayer, WeightQuantizer, largest_code

STRETCH_LOW, STRETCH_HIGH = -0.1, 1.1  # of the rectified sigmoid (equation 23)
STRENGTH = 30.0  # of the regulariser, a weight, beside an error in units of the nearest rounding's
SHARPNESS = (20.0, 2.0)  # beta of equation 24, from the first step with it to the last
WARM_UP = 0.2  # share of the steps without it
RATE = 5e-2  # of Adam: for a tenth of the original's steps, whose rate is 1e-3


class SoftRounding(WeightQuantizer):
    """Codes between the level below each weight and the one above, as a trained variable says (equations 22 and 23).

    One scale an output channel, from the bound of least squared weight error, as GPTQ here.
    """

    scale_invariant = False
    below: Tensor
    step: Tensor

    def __init__(self, weight: Tensor, bit_width: int) -> None:
        """Start where the soft code is the weight itself; hardened at once, it is the nearest level."""
        super().__init__(bit_width)
        self.quant_max = largest_code(bit_width)
        bound = mse_bound(weight.flatten(1), self.quant_max)
        self.register_buffer("step", per_channel(bound / self.quant_max, weight))
        ratio = weight / self.step
        self.register_buffer("below", ratio.floor())
        share = (ratio - self.below - STRETCH_LOW) / (STRETCH_HIGH - STRETCH_LOW)
        self.variable = nn.Parameter(torch.logit(share))
        self.hard = False

    def upward(self) -> Tensor:
        """How far each code is above the level below: from 0 to 1, or either where it is ``hard``."""
        if self.hard:
            return (self.variable >= 0).to(self.below)
        stretched = torch.sigmoid(self.variable) * (STRETCH_HIGH - STRETCH_LOW) + STRETCH_LOW
        return stretched.clamp(0, 1)

    def forward(self, weight: Tensor) -> Tensor:
        """Soft codes times scale; ``weight`` gives nothing."""
        return (self.below + self.upward()).clamp(-self.quant_max, self.quant_max) * self.step

    def regulariser(self, progress: float) -> Tensor | float:
        """What draws ``upward`` to 0 and 1 (equation 24), after a share ``progress`` of all steps."""
        if progress < WARM_UP:
            return 0.0
        first, last = SHARPNESS
        beta = first + (last - first) * (progress - WARM_UP) / (1 - WARM_UP)
        return STRENGTH * (1 - (2 * self.upward() - 1).abs().pow(beta)).sum()

    def harden(self, layer: QuantLayer) -> None:
        """Give ``layer`` the code that is nearer for good."""
        self.hard = True
        codes = (self.below + self.upward()).clamp(-self.quant_max, self.quant_max)
        freeze(layer, codes, self.step, self.bit_width)


def adaround(model: nn.Module, images: Tensor | None, bit_width: int, iterations: int) -> None:
    """Learn the rounding of each layer, so that its output on ``images`` changes least.

    Equation 21 of arXiv 2004.10568, layer by layer, each with the inputs that the layers quantised before give. A
    linear layer's squared error is a quadratic form of its weight error with the inputs' mean x x^T; so every step
    takes all images, without their noise, and no image itself. Checked against the paper and BRECQ's official code.

    Deviations: the error counts in units of the nearest rounding's, so that one strength suits all layers; fewer and
    larger steps; no activation function and no output of the unquantised network in the target (equation 25: the
    target here is the layer's own output on the same inputs); the levels are symmetric, with a scale a channel.

    Args:
        model: Trained FP32 model; changed in place.
        images: Calibration images [N, C, H, W].
        bit_width: Bits a weight.
        iterations: Steps of Adam a layer.
    """
    images = require_images(images, "adaround")

    def quantize_layer(layer: QuantLayer, inputs: Tensor) -> None:
        hessian, weight = input_hessian(layer, inputs), layer.weight.detach()
        rounding = SoftRounding(weight, bit_width)

        def error() -> Tensor:
            difference = (rounding(weight) - weight).flatten(1)
            squared: Tensor = ((difference @ hessian) * difference).sum()
            return squared

        learn_roundings([rounding], error, iterations)
        rounding.harden(layer)

    visit_inputs(model, images, quantize_layer)


def learn_roundings(roundings: Sequence[SoftRounding], error: Callable[[], Tensor], iterations: int) -> None:
    """Minimise an error over some roundings, which end at either level.

    Args:
        roundings: Trained in place.
        error: What they cause now, a scalar; it is taken in units of what the nearest roundings cause.
        iterations: Steps of Adam.
    """
    with torch.no_grad():
        for rounding in roundings:
            rounding.hard = True
        unit = error().clamp_min(torch.finfo(torch.float32).tiny)
        for rounding in roundings:
            rounding.hard = False
    weights = sum(rounding.below.numel() for rounding in roundings)
    optimizer = torch.optim.Adam([rounding.variable for rounding in roundings], lr=RATE)
    with torch.enable_grad():
        for iteration in range(iterations):
            loss = error() / unit * weights
            for rounding in roundings:
                loss = loss + rounding.regulariser(iteration / iterations)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
