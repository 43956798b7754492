"""Optimiser, clips and schedules. The paper's QuantAwareAdamW is AdamW with two clips around it (section III-F)."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from repro.optim.clipping import WEIGHT_CLIPS, WeightClip, clip_gradients
from repro.optim.schedules import SCHEDULES


def adamw(
    parameters: Iterable[nn.Parameter], learning_rate: float, beta1: float, beta2: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW with decay on every parameter, biases and batch norm included, as the authors ran it."""
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)


# name -> factory(parameters, **options); options in repro.config.schema.OPTIMIZERS
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": adamw}

__all__ = ["OPTIMIZERS", "SCHEDULES", "WEIGHT_CLIPS", "WeightClip", "adamw", "clip_gradients"]
