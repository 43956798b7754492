"""How far seeds scatter, pooled over experiments, and the intervals that follow.

Every decision about a measured figure is a one-sided test at ``ALPHA``, so the interval against a tolerance is the
90 % interval (two one-sided tests; Schuirmann 1987). The binomial error of the test set is no spread between seeds and
enters none of this.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

ALPHA = 0.05


@dataclass(frozen=True)
class Spread:
    """Standard deviation of a figure between seeds, and how well it is known.

    Attributes:
        deviation: In the unit of the figures.
        degrees: Degrees of freedom; infinite for a figure that no seed changes.
        source: Where it comes from, in words.
    """

    deviation: float
    degrees: float
    source: str

    def half_width(self, n: int, choices: int = 1) -> float:
        """``t(1 - ALPHA / choices, degrees) * deviation / sqrt(n)``: half the interval of a mean of ``n`` seeds.

        Args:
            n: Seeds behind the mean.
            choices: Figures among which this one was picked (Bonferroni); 1 where nothing was picked.
        """
        if self.deviation == 0:
            return 0.0
        return float(stats.t.ppf(1 - ALPHA / choices, self.degrees) * self.deviation / math.sqrt(n))

    def times(self, factor: float) -> "Spread":
        """The spread of ``factor`` times the figure."""
        return Spread(abs(factor) * self.deviation, self.degrees, self.source)

    def in_steps(self, step: float) -> "Spread":
        """At least the standard deviation of a uniform error of one ``step``, ``step / sqrt(12)``.

        Equal figures of a few seeds would else have an interval of no width, which refutes whatever it does not hold.
        """
        if math.isinf(self.degrees):
            return self
        return Spread(max(self.deviation, step / math.sqrt(12)), self.degrees, self.source)


NO_SPREAD = Spread(0.0, math.inf, "no seed changes it")


def own_spread(values: pd.Series) -> Spread | None:
    """Sample standard deviation of one experiment's seeds, n - 1 degrees of freedom; ``None`` below two seeds."""
    if len(values) < 2:
        return None
    return Spread(float(values.std(ddof=1)), len(values) - 1, "own")


def pooled_spread(figures: pd.DataFrame) -> Spread | None:
    """The spread within experiments: ``s² = Σ_e Σ_i (x_ei - mean_e)² / Σ_e (n_e - 1)``.

    Args:
        figures: One row a seed, one column a trajectory; NaN where a trajectory has no such seed.

    Returns:
        ``None`` where no column has two seeds.
    """
    repeated = _repeated(figures)
    degrees = int((repeated.count() - 1).sum())
    if degrees < 1:
        return None
    squares = float(((repeated - repeated.mean()) ** 2).sum().sum())
    return Spread(math.sqrt(squares / degrees), degrees, _pooled_over(repeated))


def paired_spread(figures: pd.DataFrame) -> Spread | None:
    """The spread of one arm within a seed: a paired difference has sqrt(2) times this deviation.

    The residual of the additive model ``x_es = experiment_e + seed_s + residual``: ``s² = RSS / (N - rank)``. For two
    experiments this is the variance of their paired differences over 2, with n - 1 degrees of freedom; for more,
    with the same seeds each, the mean of that over all pairs, with the (k - 1)(n - 1) degrees of freedom that are
    independent, as pairs that share an experiment are not.

    Args:
        figures: As for ``pooled_spread``.

    Returns:
        ``None`` where no two columns have two seeds in common.
    """
    cells = _repeated(figures).stack().dropna()
    if cells.empty:
        return None
    seeds, columns = (pd.get_dummies(cells.index.get_level_values(level)).to_numpy(float) for level in (0, 1))
    design = np.hstack([columns, seeds])
    solution, _, rank, _ = np.linalg.lstsq(design, cells.to_numpy(float), rcond=None)
    degrees = len(cells) - int(rank)
    if degrees < 1:
        return None
    squares = float(((cells.to_numpy(float) - design @ solution) ** 2).sum())
    return Spread(math.sqrt(squares / degrees), degrees, _pooled_over(_repeated(figures)))


def independent_sum(parts: Iterable[Spread | None]) -> Spread | None:
    """Spread of a sum of independent parts, with the fewest degrees of freedom of any; ``None`` if one is unknown."""
    known = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    deviation = math.hypot(*(part.deviation for part in known))
    return Spread(deviation, min(part.degrees for part in known), known[0].source)


def _repeated(figures: pd.DataFrame) -> pd.DataFrame:
    """The columns with two seeds or more."""
    return figures.loc[:, figures.count() > 1].astype(float)


def _pooled_over(figures: pd.DataFrame) -> str:
    return f"pooled over {figures.shape[1]} experiment{'s' if figures.shape[1] > 1 else ''}"
