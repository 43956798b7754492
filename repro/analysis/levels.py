"""Levels in use over ranges of epochs, as in table IV."""

import math
from dataclasses import dataclass

import pandas as pd

from repro.analysis.stats import Estimate, estimate


@dataclass(frozen=True)
class LevelRange:
    """Levels in use over a range of epochs, all weight layers and all seeds.

    Attributes:
        first: First epoch of the range, in epochs of the run.
        last: Last epoch, included.
        minimum: Fewest levels of any layer, epoch and seed; NaN without data.
        maximum: Most levels.
        mean: Mean over layers and epochs, then over seeds.
    """

    first: int
    last: int
    minimum: float
    maximum: float
    mean: Estimate


def map_epochs(first: int, last: int, epochs: int, of: int) -> tuple[int, int]:
    """A range of the paper's epochs at the same share of a shorter or longer run.

    Args:
        first: First epoch in the paper, from 1.
        last: Last epoch in the paper, included.
        epochs: Epochs of the run.
        of: Epochs of the paper's run.

    Returns:
        First and last epoch of the run, at least one epoch; the paper's own where ``epochs == of``.
    """
    start = (first - 1) * epochs // of + 1
    end = (2 * last * epochs + of) // (2 * of)  # nearest whole epoch
    return start, min(max(start, end), epochs)


def level_range(layers: pd.DataFrame, first: int, last: int) -> LevelRange:
    """Fewest, most and mean levels over a range of epochs.

    Args:
        layers: Rows of ``Evidence.layers`` of one experiment at one scale: ``seed``, ``epoch``, ``levels``.
        first: First epoch of the range.
        last: Last epoch, included.
    """
    part = layers[layers["epoch"].between(first, last)].dropna(subset=["levels"])
    if part.empty:
        return LevelRange(first, last, math.nan, math.nan, estimate([]))
    per_seed = part.groupby(["seed", "epoch"])["levels"].mean().groupby("seed").mean()
    return LevelRange(first, last, float(part["levels"].min()), float(part["levels"].max()), estimate(per_seed))
