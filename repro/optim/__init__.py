"""Optimiser, clips. The paper's QuantAwareAdamW is AdamW with two clips around it (section III-F)."""

from collections.abc import Iterable

import torch
from torch import nn

from repro.optim.clipping import WeightClip, clip_gradients
from repro.optim.fused import FusedUpdate


def adamw(
    parameters: Iterable[nn.Parameter], learning_rate: float, beta1: float, beta2: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW with decay on every parameter, biases and batch norm included, as the authors ran it."""
    parameters = list(parameters)
    cuda = parameters[0].is_cuda
    return torch.optim.AdamW(
        parameters,
        # on a GPU a tensor, so that a captured step reads the rate of its epoch
        lr=torch.tensor(learning_rate, device=parameters[0].device) if cuda else learning_rate,
        betas=(beta1, beta2),
        weight_decay=weight_decay,
        fused=True,
        capturable=cuda,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of all parameters, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


__all__ = [
    "FusedUpdate",
    "WeightClip",
    "adamw",
    "clip_gradients",
    "set_learning_rate",
]
