"""The spread between seeds, against textbook formulas, brute force and simulation."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from repro.analysis import equivalence
from repro.analysis.spread import ALPHA, NO_SPREAD, Spread, independent_sum, own_spread, paired_spread, pooled_spread

FIGURES = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [2.0, 6.0, math.nan], "c": [9.0, math.nan, math.nan]})


def test_pooled_within_experiments_and_its_degrees_of_freedom():
    """By hand: a has 2 degrees around 7/3, b 1 around 4, c has one seed and none."""
    spread = pooled_spread(FIGURES)
    squares = sum((x - 7 / 3) ** 2 for x in (1, 2, 4)) + 8
    assert (spread.deviation, spread.degrees) == (pytest.approx(math.sqrt(squares / 3)), 3)
    assert spread.source == "pooled over 2 experiments"
    assert pooled_spread(FIGURES[["c"]]) is None
    assert pooled_spread(pd.DataFrame()) is None


def test_means_of_experiments_do_not_enter():
    assert pooled_spread(FIGURES + {"a": 100.0, "b": -7.0, "c": 3.0}) == pooled_spread(FIGURES)


def test_two_experiments_have_the_variance_of_their_paired_differences():
    figures = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [1.5, 2.0, 6.0]})
    spread = paired_spread(figures)
    differences = figures["a"] - figures["b"]
    assert (math.sqrt(2) * spread.deviation, spread.degrees) == (pytest.approx(differences.std(ddof=1)), 2)


def test_more_experiments_have_the_mean_over_all_pairs_and_no_more_degrees_than_are_independent():
    figures = pd.DataFrame(np.random.default_rng(0).normal(size=(4, 3)), columns=list("abc"))
    pairs = [(figures[a] - figures[b]).var(ddof=1) for a, b in itertools.combinations("abc", 2)]
    spread = paired_spread(figures)
    assert (2 * spread.deviation**2, spread.degrees) == (pytest.approx(np.mean(pairs)), (3 - 1) * (4 - 1))


def test_a_seed_that_lifts_all_experiments_alike_is_in_no_difference():
    figures = pd.DataFrame({"a": [1.0, 2.0, 9.0], "b": [3.0, 4.0, 11.0]})
    assert paired_spread(figures).deviation == pytest.approx(0, abs=1e-9)
    assert pooled_spread(figures).deviation > 4


def test_pairs_need_two_seeds_in_common():
    apart = pd.DataFrame({"a": [1.0, 2.0, math.nan], "b": [1.0, math.nan, 3.0]})
    assert paired_spread(apart) is None
    assert paired_spread(FIGURES[["a"]]) is None
    assert paired_spread(FIGURES).degrees == 1  # a and b share two seeds


def test_own_spread():
    assert own_spread(pd.Series([1.0])) is None
    assert own_spread(pd.Series([1.0, 3.0])) == Spread(math.sqrt(2), 1, "own")


def test_the_interval_is_two_one_sided_tests():
    """Inside a margin exactly where the equivalence test of ``repro.analysis`` says so at ``ALPHA``."""
    random = np.random.default_rng(1)
    agreed = 0
    for _ in range(200):
        values, reference = (pd.Series(random.normal(0, 0.004, 3)) for _ in range(2))
        test = equivalence(values, reference, margin=0.01)
        differences = values - reference
        half = own_spread(differences).half_width(3)
        inside = abs(differences.mean()) + half < 0.01
        assert inside == (test.p_value < ALPHA)
        assert test.interval == pytest.approx((differences.mean() - half, differences.mean() + half))
        agreed += inside
    assert 20 < agreed < 180


def test_a_single_seed_with_a_pooled_spread_is_covered_as_often_as_it_says():
    """9 of 10 true means lie within the interval of one seed, whose spread two other experiments give."""
    random, hits = np.random.default_rng(2), 0
    for _ in range(4000):
        spread = pooled_spread(pd.DataFrame(random.normal(size=(2, 2))))
        hits += abs(random.normal()) <= spread.half_width(1)
    assert hits / 4000 == pytest.approx(1 - 2 * ALPHA, abs=0.015)


def test_choosing_among_readings_widens_it_and_more_seeds_narrow_it():
    spread = Spread(1.0, 4, "own")
    assert spread.half_width(1, choices=4) == pytest.approx(stats.t.ppf(1 - ALPHA / 4, 4))
    assert spread.half_width(1, choices=4) > spread.half_width(1) > spread.half_width(4)
    assert NO_SPREAD.half_width(1, choices=3) == 0


def test_independent_parts_add_their_variances():
    total = independent_sum([Spread(3.0, 5, "own"), Spread(4.0, 2, "own")])
    assert (total.deviation, total.degrees) == (5.0, 2)
    assert independent_sum([Spread(3.0, 5, "own"), None]) is None


def test_equal_figures_that_come_in_steps_have_an_interval() -> None:
    """Two seeds with 14.625 mean levels each do not show that no seed ever has 14.75."""
    spread = own_spread(pd.Series([14.625, 14.625]))
    assert spread is not None
    assert spread.half_width(2) == 0
    wide = spread.in_steps(1 / 8)
    assert wide.deviation == pytest.approx(0.125 / math.sqrt(12))
    assert wide.half_width(2) == pytest.approx(stats.t.ppf(0.95, 1) * wide.deviation / math.sqrt(2))
    assert own_spread(pd.Series([1.0, 3.0])).in_steps(1 / 8).deviation == pytest.approx(math.sqrt(2))
    assert NO_SPREAD.in_steps(1 / 8) == NO_SPREAD
