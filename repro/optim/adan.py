"""Adan (Xie et al. 2022, "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models")."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from repro.optim.base import EPSILON, PerParameter, count_step


class Adan(PerParameter):
    """Nesterov's momentum from the difference of two gradients, under Adam's normalisation (algorithm 1).

    m follows g, v follows g_t - g_(t-1), n follows (g_t + b2 (g_t - g_(t-1)))^2, each without its bias; the step is
    (m + b2 v) / sqrt(n), and the decay divides by 1 + r d afterwards. The betas are the official code's, 1 less the
    paper's. Modelled: all of it, checked against sail-sg/Adan. Not modelled: the restart, which their experiments leave
    out but for one, and their own gradient clip: ``gradient_clip`` is one. In the first step the difference is zero.
    The authors advise a rate 5 to 10 times AdamW's.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        beta1: float,
        beta2: float,
        beta3: float,
        weight_decay: float,
    ) -> None:
        """``beta1`` keeps the gradient's mean, ``beta2`` the difference's and ``beta3`` the square's."""
        super().__init__(parameters, learning_rate, betas=(beta1, beta2, beta3), weight_decay=weight_decay)

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """One step of one parameter."""
        beta1, beta2, beta3 = group["betas"]
        steps = count_step(state, parameter)
        if "before" not in state:
            state.update({key: torch.zeros_like(parameter) for key in ("mean", "change", "mean_square")})
            state["before"] = torch.empty_like(parameter).copy_(gradient)
        difference = gradient - state["before"]
        state["before"].copy_(gradient)
        state["mean"].lerp_(gradient, 1 - beta1)
        state["change"].lerp_(difference, 1 - beta2)
        ahead = difference.mul_(beta2).add_(gradient)
        state["mean_square"].mul_(beta3).addcmul_(ahead, ahead, value=1 - beta3)
        root = (state["mean_square"] / (1 - beta3**steps)).sqrt_().add_(EPSILON)
        move = state["mean"] / (1 - beta1**steps) + state["change"] * (beta2 / (1 - beta2**steps))
        parameter.sub_(move.div_(root).mul_(group["lr"])).div_(1 + group["lr"] * group["weight_decay"])
