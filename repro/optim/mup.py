"""muP's rule of rate and decay, around any optimiser (Yang et al. 2022, "Tensor Programs V", arXiv 2203.03466)."""

from collections.abc import Iterable

import torch
from torch import nn

from repro.optim.base import hidden_matrices


def scale_hidden(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Divide the rate of the hidden matrices by ``factor`` and multiply their decay by it, before the first step.

    So the product of both, the share of itself that a weight loses in a step, stays what it was at the width for which
    they were found: the independent weight decay that Wang and Aitchison (2024, arXiv 2405.13698) and Kosson et al.
    (2025, arXiv 2510.19093) find that muP needs. Under AdamW and its kin ``factor`` is m, the width in units of that
    one, as in ``MuAdamW`` of microsoft/mup, against which this was checked. A step of Muon here has spectral norm
    0.2 sqrt(width) at rate 1, so that by the spectral condition (Yang, Simon, Bernstein 2023) ``factor`` is sqrt(m):
    that is derived, not taken from a paper. SGD's rule leaves hidden matrices alone.

    Modelled: the two factors. Not modelled: the rest of muP, its initial weights, its multiplier on the logits and
    SGD's factors on vectors. First and last layer, biases, batch norm and learned steps keep rate and decay, as there.

    Args:
        optimizer: Over ``parameters``; its groups are split where they hold both kinds.
        parameters: In the order of the forward pass.
        factor: Above zero; 1 changes nothing.
    """
    hidden = {id(parameter) for parameter in hidden_matrices(parameters)}
    for group in list(optimizer.param_groups):
        inside = [parameter for parameter in group["params"] if id(parameter) in hidden]
        outside = [parameter for parameter in group["params"] if id(parameter) not in hidden]
        own = {"params": inside, "weight_decay": group["weight_decay"] * factor, "rate_factor": 1 / factor}
        if not outside:
            group.update(own)
        elif inside:
            group["params"] = outside
            rate = group["lr"]  # a tensor on a GPU: one of its own
            optimizer.add_param_group({**group, "lr": rate.clone() if isinstance(rate, torch.Tensor) else rate, **own})
