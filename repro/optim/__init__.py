"""Optimiser, clips. The paper's QuantAwareAdamW is AdamW with two clips around it (section III-F)."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from repro.optim.base import Undecorated, rate
from repro.optim.clipping import WeightClip, clip_gradients
from repro.optim.fused import FusedUpdate
from repro.optim.mup import scale_hidden


class _AdamW(Undecorated, torch.optim.AdamW):
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


def adamw(
    parameters: Iterable[nn.Parameter], learning_rate: float, beta1: float, beta2: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW with decay on every parameter, biases and batch norm included, as the authors ran it."""
    parameters = list(parameters)
    return _AdamW(
        parameters,
        lr=rate(learning_rate, parameters),
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
        lr=rate(learning_rate, parameters),
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of all parameters, in place where it is a tensor; a group may have a factor of its own on it."""
    for group in optimizer.param_groups:
        own = learning_rate * group.get("rate_factor", 1.0)
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take a ``state_dict()``; a rate that is a tensor stays that very one, on its device: captured steps read it."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(own, torch.Tensor):
            group["lr"] = own.fill_(float(group["lr"]))


__all__ = [
    "FusedUpdate",
    "WeightClip",
    "adamw",
    "clip_gradients",
    "load_optimizer",
    "scale_hidden",
    "set_learning_rate",
    "sgd",
]
