"""Whether two trainings are as good as each other: two one-sided tests, and how many seeds they would need."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from repro.analysis.spread import ALPHA as ALPHA
from repro.analysis.spread import Spread
from repro.analysis.stats import Estimate, paired_difference, paired_values

# "Parity" within half a point of accuracy, as a fraction. The paper calls a gap of 0.16 points parity and one of
# 1.5 points (8-bit QAT, table II) a gap; half a point lies between the two, and is about two binomial standard errors
# of 10,000 test images at 92.5 %, so that no smaller margin could be told from the choice of the test images.
MARGIN = 0.005
WANTED_POWER = 0.8
MOST_SEEDS = 1000
_SPREADS = (np.arange(2000) + 0.5) / 2000  # quantiles at which the sample's standard deviation is taken


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided paired t-tests of "the difference is smaller than the margin, either way".

    Attributes:
        difference: Mean paired difference over the common seeds, with its 95 % interval.
        deviation: Standard deviation of the differences over seeds; NaN with fewer than two.
        p_value: The larger of the two one-sided p-values; below ``ALPHA`` the two are equivalent within the margin.
            NaN where there is nothing to test: fewer than two seeds, or differences without any spread.
        power: Chance of such a p-value at this n, were the true difference zero and ``deviation`` the true one.
        seeds_needed: Fewest seeds with a power of ``WANTED_POWER``; infinite above ``MOST_SEEDS``.
        margin: The margin, in the unit of the values.
    """

    difference: Estimate
    deviation: float
    p_value: float
    power: float
    seeds_needed: float
    margin: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 90 % interval of the difference: inside the margin exactly where the two tests say "equivalent"."""
        half = Spread(self.deviation, self.difference.n - 1, "own").half_width(self.difference.n)
        return self.difference.value - half, self.difference.value + half


def equivalence(values: pd.Series, reference: pd.Series, margin: float = MARGIN) -> Equivalence:
    """Test ``values`` against ``reference`` for equivalence over the seeds that both have.

    Args:
        values: One figure a seed, indexed by seed; accuracies as fractions.
        reference: The same of the run to compare with.
        margin: Largest difference that counts as none.
    """
    differences = paired_values(values, reference)
    n = len(differences)
    difference = paired_difference(values, reference)
    deviation = float(differences.std(ddof=1)) if n > 1 else math.nan
    if not deviation > 1e-12:  # NaN, or equal up to rounding: no t-statistic
        return Equivalence(difference, deviation, math.nan, math.nan, math.nan, margin)
    lower = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    upper = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    return Equivalence(
        difference=difference,
        deviation=deviation,
        p_value=float(max(lower, upper)),
        power=tost_power(n, deviation, margin),
        seeds_needed=seeds_for_power(deviation, margin),
        margin=margin,
    )


def tost_power(n: int, deviation: float, margin: float = MARGIN, difference: float = 0.0) -> float:
    """Power of the two one-sided paired t-tests.

    Both reject where ``|mean| < margin - t s / sqrt(n)``. The mean is normal and independent of the sample's
    standard deviation s, a scaled chi: so the chance given s is averaged over quantiles of s.

    Args:
        n: Pairs, at least two.
        deviation: True standard deviation of a difference.
        margin: Equivalence margin.
        difference: True mean difference.
    """
    error = deviation / math.sqrt(n)
    sampled = error * np.sqrt(stats.chi2.ppf(_SPREADS, n - 1) / (n - 1))
    reach = margin - stats.t.ppf(1 - ALPHA, n - 1) * sampled
    inside = stats.norm.cdf((reach - difference) / error) - stats.norm.cdf((-reach - difference) / error)
    return float(np.where(reach > 0, inside, 0.0).mean())


def seeds_for_power(deviation: float, margin: float = MARGIN, wanted: float = WANTED_POWER) -> float:
    """Fewest seeds with the wanted power at a true difference of zero; infinite above ``MOST_SEEDS``."""
    if tost_power(MOST_SEEDS, deviation, margin) < wanted:
        return math.inf
    low, high = 1, MOST_SEEDS  # `low` seeds are too few, `high` are enough
    while high - low > 1:
        middle = (low + high) // 2
        if tost_power(middle, deviation, margin) < wanted:
            low = middle
        else:
            high = middle
    return float(high)
