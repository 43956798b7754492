"""Optimiser, clips and schedules. The paper's QuantAwareAdamW is AdamW with two clips around it (section III-F)."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from repro.config.schedules import SCHEDULES
from repro.optim.clipping import WEIGHT_CLIPS, WeightClip, clip_gradients


def adamw(
    parameters: Iterable[nn.Parameter], learning_rate: float, beta1: float, beta2: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW with decay on every parameter, biases and batch norm included, as the authors ran it."""
    parameters = list(parameters)
    return torch.optim.AdamW(
        parameters,
        lr=_rate(learning_rate, parameters),
        betas=(beta1, beta2),
        weight_decay=weight_decay,
        fused=True,
        capturable=parameters[0].is_cuda,
    )


def sgd(
    parameters: Iterable[nn.Parameter], learning_rate: float, momentum: float, weight_decay: float, nesterov: bool
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum; the decay, on every parameter, is part of the gradient."""
    parameters = list(parameters)
    return torch.optim.SGD(
        parameters,
        lr=_rate(learning_rate, parameters),
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        fused=True,
    )


def _rate(learning_rate: float, parameters: list[nn.Parameter]) -> float | torch.Tensor:
    """On a GPU a tensor, so that a captured step reads the rate of its epoch."""
    return torch.tensor(learning_rate, device=parameters[0].device) if parameters[0].is_cuda else learning_rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of all parameters, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


# name -> factory(parameters, **options); options in repro.config.schema.OPTIMIZERS
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": adamw, "sgd": sgd}

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "WEIGHT_CLIPS",
    "WeightClip",
    "adamw",
    "clip_gradients",
    "set_learning_rate",
    "sgd",
]
