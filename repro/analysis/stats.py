"""Statistics over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with what is known about its uncertainty, in the unit of its values.

    Attributes:
        value: Mean over seeds; the value itself with one seed.
        low: Lower end of the 95 % t-interval over seeds; NaN with fewer than two.
        high: Upper end.
        standard_error: Binomial standard error of the test set, given with one seed only; NaN otherwise. Of a
            difference, that of two test sets drawn apart: images that both runs share make it too large, not too small.
        n: Seeds.
    """

    value: float
    low: float
    high: float
    standard_error: float
    n: int


def estimate(values: Sequence[float] | pd.Series, trials: float | None = None) -> Estimate:
    """Mean and 95 % t-interval over seeds; with one seed no interval is invented.

    Args:
        values: One figure a seed. A missing one makes the mean NaN: leaving it out would be a choice of seeds.
        trials: Test images behind each value, where the values are accuracies as fractions.
    """
    figures = np.asarray(values, dtype=float)
    n, nan = len(figures), math.nan
    if n == 0:
        return Estimate(nan, nan, nan, nan, 0)
    mean = float(figures.mean())
    if n == 1:
        known = trials is not None and trials > 0 and 0 <= mean <= 1
        error = math.sqrt(mean * (1 - mean) / trials) if known and trials else nan
        return Estimate(mean, nan, nan, error, 1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * figures.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, nan, n)


def paired_values(values: pd.Series, reference: pd.Series) -> pd.Series:
    """``values - reference`` for each seed that both have, indexed by seed."""
    if values.index.equals(reference.index):
        return values - reference
    common = values.index.intersection(reference.index)
    differences: pd.Series = values.loc[common] - reference.loc[common]
    return differences


def paired_difference(values: pd.Series, reference: pd.Series, trials: float | None = None) -> Estimate:
    """``values - reference`` over the seeds that both have.

    Args:
        values: One figure a seed, indexed by seed.
        reference: The same of the run to compare with.
        trials: Test images behind each value, where the values are accuracies as fractions.

    Returns:
        Mean difference and, with two common seeds or more, its paired t-interval; n = 0 without a common seed.
    """
    found = estimate(paired_values(values, reference))
    if found.n != 1:
        return found
    seeds = values.index.intersection(reference.index)
    errors = [estimate(side.loc[seeds], trials).standard_error for side in (values, reference)]
    return replace(found, standard_error=math.hypot(*errors))


def paired_p_value(values: pd.Series, reference: pd.Series) -> float:
    """Two-sided paired t-test of no difference, over the seeds that both have.

    Returns:
        The p-value; NaN with fewer than two common seeds, a missing figure, or differences without any spread,
        whose t-statistic would be infinite or undefined.
    """
    differences = paired_values(values, reference)
    if len(differences) < 2 or not differences.std(ddof=1) > 1e-12:
        return math.nan
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values that hold for the whole family of tests at once.

    Args:
        p_values: One a test; NaN for a test that could not be made, which is not part of the family.

    Returns:
        Corrected p-values in the same order, at most 1; NaN where the p-value was.
    """
    corrected = [math.nan] * len(p_values)
    order = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[index] = largest
    return corrected
