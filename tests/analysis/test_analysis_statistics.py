import math

import pandas as pd
import pytest
from scipy import stats

from repro.analysis import estimate, level_range, map_epochs, paired_difference


def test_one_seed_has_no_interval_but_the_test_sets_error():
    one = estimate([0.9], trials=10000)
    assert (one.value, one.n) == (0.9, 1)
    assert math.isnan(one.low)
    assert one.standard_error == pytest.approx(0.003)
    assert math.isnan(estimate([0.9]).standard_error)


def test_several_seeds_have_the_t_interval():
    values = [0.91, 0.92, 0.94]
    several = estimate(values, trials=10000)
    low, high = stats.t.interval(0.95, 2, loc=several.value, scale=stats.sem(values))
    assert (several.low, several.high) == pytest.approx((low, high))
    assert math.isnan(several.standard_error)
    assert several.n == 3


def test_no_seed_and_a_missing_value_give_no_number():
    assert estimate([]).n == 0
    assert math.isnan(estimate([]).value)
    assert math.isnan(estimate([0.9, math.nan]).value)


def test_differences_are_paired_over_common_seeds():
    difference = paired_difference(pd.Series({0: 0.9, 1: 0.8, 5: 0.1}), pd.Series({1: 0.7, 0: 0.8, 9: 0.2}))
    assert difference.n == 2
    assert difference.value == pytest.approx(0.1)
    assert difference.high - difference.low == pytest.approx(0, abs=1e-9)
    assert paired_difference(pd.Series({0: 0.9}), pd.Series({1: 0.8})).n == 0


def test_a_single_difference_has_the_error_of_two_test_sets():
    one, two = pd.Series({3: 0.9, 4: 0.5}), pd.Series({3: 0.8})
    error = ((0.9 * 0.1 + 0.8 * 0.2) / 400) ** 0.5
    assert paired_difference(one, two, trials=400).standard_error == pytest.approx(error)
    assert math.isnan(paired_difference(one, two).standard_error)
    assert math.isnan(paired_difference(one, one, trials=400).standard_error)  # two seeds have an interval


@pytest.mark.parametrize(
    ("first", "last", "epochs", "expected"),
    [(1, 10, 150, (1, 10)), (88, 114, 150, (88, 114)), (1, 10, 9, (1, 1)), (25, 50, 9, (2, 3)), (88, 114, 9, (6, 7)),
     (75, 100, 1, (1, 1)), (25, 50, 300, (49, 100))],
)  # fmt: skip
def test_epoch_ranges_keep_their_share_of_the_run(first, last, epochs, expected):
    assert map_epochs(first, last, epochs, 150) == expected


def test_levels_over_a_range():
    rows = [(0, 1, 13), (0, 1, 15), (0, 2, 14), (0, 2, 14), (1, 1, 12), (1, 1, 12), (0, 3, 1), (1, 2, None)]
    layers = pd.DataFrame(rows, columns=["seed", "epoch", "levels"])
    levels = level_range(layers, 1, 2)
    assert (levels.minimum, levels.maximum, levels.mean.n) == (12, 15, 2)
    assert levels.mean.value == pytest.approx((14 + 12) / 2)
    assert level_range(layers, 8, 9).mean.n == 0
