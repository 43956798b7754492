"""What is measured of a layer's codes and weights besides its levels."""

import math

import torch
from torch import Tensor

from repro.quant.layers import QuantLayer, codes_in_use, effective_weight


def code_entropy(layer: QuantLayer) -> float | None:
    """Entropy of a layer's codes in bits; 2 to its power is the number of levels that it uses in effect.

    ``None`` as ``codes_in_use``.
    """
    codes = codes_in_use(layer)
    if codes is None:
        return None
    shares = torch.unique(codes, return_counts=True)[1].double() / codes.numel()
    return abs(float(-(shares * shares.log2()).sum()))  # abs: no minus before the zero of one level


@torch.no_grad()
def condition_number(layer: QuantLayer) -> float | None:
    """Largest singular value over the smallest, of the matrix of output channels that a layer computes with.

    ``None`` where the smallest is zero, or the weights are no numbers any more.
    """
    weight: Tensor = effective_weight(layer).detach().float().cpu().flatten(1)
    if not torch.isfinite(weight).all():
        return None
    values = torch.linalg.svdvals(weight)
    ratio = float(values[0] / values[-1])
    return ratio if math.isfinite(ratio) else None
