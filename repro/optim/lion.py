"""Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms")."""

from typing import Any

import torch
from torch import Tensor

from repro.optim.base import TwoBetas


class Lion(TwoBetas):
    """Each weight moves by the rate, in the direction of the sign of a momentum (algorithm 2, google/automl).

    w <- (1 - r d) w - r sign(b1 m + (1 - b1) g), then m <- b2 m + (1 - b2) g. Modelled: all of it, checked against
    the official PyTorch code. Where the momentum is exactly zero nothing moves. The authors advise a rate 3 to 10 times
    smaller than AdamW's and a decay as much larger.
    """

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """One step of one parameter."""
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        beta1, beta2 = group["betas"]
        direction = state["momentum"].lerp(gradient, 1 - beta1).sign_()
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction.mul_(group["lr"]))
        state["momentum"].lerp_(gradient, 1 - beta2)
