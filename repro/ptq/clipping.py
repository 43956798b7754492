"""Clipping bounds: by search for the least squared error, and by formula for a known distribution."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from repro.quant import quantize
from repro.quant.functional import ABSMAX_EPSILON

COARSE_STEPS = 32
FINE_STEPS = 16


@torch.no_grad()
def mse_bound(rows: Tensor, quant_max: int) -> Tensor:
    """Bound of each row that leaves the least squared error between weights and levels.

    Searched on a grid of 1/32 of the row's largest magnitude, then on one 16 times finer around the best.
    The largest magnitude is on the grid: the error is never above that of absmax.

    Args:
        rows: Weights [R, n]; each row gets a bound of its own.
        quant_max: Largest code.

    Returns:
        Bounds [R] in weight units.
    """
    largest = rows.abs().amax(dim=1) + ABSMAX_EPSILON
    best_share = torch.ones_like(largest)
    best_error = _squared_error(rows, largest, quant_max)
    coarse = [torch.full_like(largest, step / COARSE_STEPS) for step in range(1, COARSE_STEPS)]
    best_share, best_error = _improve(rows, largest, quant_max, best_share, best_error, coarse)
    offsets = [step / (COARSE_STEPS * FINE_STEPS) for step in range(1 - FINE_STEPS, FINE_STEPS) if step]
    fine = [(best_share + offset).clamp(max=1) for offset in offsets]
    best_share, _ = _improve(rows, largest, quant_max, best_share, best_error, fine)
    return best_share * largest


def _improve(
    rows: Tensor, largest: Tensor, quant_max: int, share: Tensor, error: Tensor, candidates: list[Tensor]
) -> tuple[Tensor, Tensor]:
    for candidate in candidates:
        found = _squared_error(rows, candidate * largest, quant_max)
        better = found < error
        share, error = torch.where(better, candidate, share), torch.where(better, found, error)
    return share, error


def _squared_error(rows: Tensor, bound: Tensor, quant_max: int) -> Tensor:
    scale = (bound / quant_max).unsqueeze(1)
    return quantize(rows, scale, quant_max).mul_(scale).sub_(rows).square_().sum(dim=1)


def laplace_clip(levels: int) -> float:
    """Bound of least expected squared error for a Laplace distribution, in units of its b.

    Banner 2019, section 2: the error of clipping and of rounding to ``levels`` equal regions of
    [-a, a] is 2 b^2 exp(-a / b) + a^2 / (3 levels^2); its derivative is zero at the result. The paper
    gives 2.83, 3.89 and 5.03 for 2, 3 and 4 bits.
    """
    return _root(lambda a: a / (3 * levels**2) - math.exp(-a))


def gauss_clip(levels: int) -> float:
    """As ``laplace_clip`` for a normal distribution, in units of its standard deviation: 1.71, 2.15, 2.55."""
    density = math.sqrt(2 / math.pi)
    return _root(lambda a: a * (math.erfc(a / 2**0.5) + 1 / (3 * levels**2)) - density * math.exp(-a * a / 2))


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function crosses zero between 0 and 50, by bisection to double precision."""
    low, high = 0.0, 50.0
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return middle
