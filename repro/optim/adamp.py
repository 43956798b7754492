"""AdamP and SGDP (Heo et al. 2021, "AdamP: Slowing Down the Slowdown for Momentum Optimizers").

Where batch norm follows, a weight's length changes nothing and its gradient stands at a right angle to it. Momentum
still lets it grow, and the larger it is the less a step turns it. Both methods take the part along the weight out of
the step, wherever the gradient's angle says so, and give such weights a tenth of the decay.

Modelled: all of algorithms 1 to 3 with the official code's constants (clovaai/AdamP), against which they were
checked. Both angles are computed every time and chosen from by a mask, so that nothing waits for the device.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from repro.optim.base import EPSILON, PerParameter, TwoBetas, adam_direction

DELTA = 0.1  # of the angle below which a gradient counts as one at a right angle
DECAY_SHARE = 0.1  # of the decay where the step was projected


class AdamP(TwoBetas):
    """AdamW whose step loses its part along the weight where the weight's length does not matter."""

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """One step of one parameter."""
        step, share = without_growth(parameter, gradient, adam_direction(state, gradient, group["betas"]))
        parameter.mul_(1 - group["lr"] * group["weight_decay"] * share).sub_(step * group["lr"])


class SGDP(PerParameter):
    """SGD with momentum, projected in the same way; the decay is decoupled, d / (1 - momentum) as it adds up there."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        momentum: float,
        weight_decay: float,
        nesterov: bool,
    ) -> None:
        """As SGD."""
        super().__init__(parameters, learning_rate, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """One step of one parameter."""
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        velocity = state["momentum"].mul_(group["momentum"]).add_(gradient)
        step = gradient + velocity * group["momentum"] if group["nesterov"] else velocity
        step, share = without_growth(parameter, gradient, step)
        decay = group["weight_decay"] / (1 - group["momentum"])
        parameter.mul_(1 - group["lr"] * decay * share).sub_(step * group["lr"])


def without_growth(weight: Tensor, gradient: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """The step without its part along the weight, channel by channel or as a whole, where the gradient allows it.

    Args:
        weight: Any shape; vectors and scalars keep their step.
        gradient: Its gradient.
        step: The step before the rate.

    Returns:
        The step, and the share of the decay that the weight gets, a scalar.
    """
    if weight.dim() < 2:
        return step, torch.ones((), device=weight.device)
    by_channel, channel_step = _projected(weight, gradient, step, tuple(range(1, weight.dim())))
    whole, whole_step = _projected(weight, gradient, step, tuple(range(weight.dim())))
    chosen = torch.where(by_channel, channel_step, torch.where(whole, whole_step, step))
    return chosen, torch.where(by_channel | whole, DECAY_SHARE, 1.0)


def _projected(weight: Tensor, gradient: Tensor, step: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Whether every piece's gradient is at a right angle to it, and the step without its part along the piece."""

    def inner(left: Tensor, right: Tensor) -> Tensor:
        return (left * right).sum(over, keepdim=True)

    length = inner(weight, weight).sqrt_()
    cosine = inner(weight, gradient).abs_() / (length * inner(gradient, gradient).sqrt_()).clamp_(min=EPSILON)
    unit = weight / (length + EPSILON)
    size = weight.numel() // length.numel()
    return cosine.amax() < DELTA / math.sqrt(size), step - unit * inner(unit, step)
