import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from repro.analysis import equivalence, holm, paired_p_value
from repro.analysis.equivalence import ALPHA, MARGIN, MOST_SEEDS, seeds_for_power, tost_power

OURS = pd.Series({0: 0.921, 1: 0.9235, 2: 0.922, 7: 0.5})
BASE = pd.Series({0: 0.9225, 1: 0.9230, 2: 0.9242, 9: 0.1})


def test_the_p_value_is_the_larger_of_two_one_sided_tests_over_the_common_seeds():
    differences = (OURS - BASE).dropna()
    lower = stats.ttest_1samp(differences, -0.005, alternative="greater").pvalue
    upper = stats.ttest_1samp(differences, 0.005, alternative="less").pvalue
    test = equivalence(OURS, BASE)
    assert test.p_value == pytest.approx(max(lower, upper))
    assert test.difference.n == 3
    assert test.deviation == pytest.approx(np.std([-0.0015, 0.0005, -0.0022], ddof=1))
    assert MARGIN == 0.005


def test_a_worked_example_by_hand():
    # differences -0.2, 0, 0.2 points: se = 0.2 / sqrt(3); t = 0.5 / se, 2 degrees of freedom
    test = equivalence(pd.Series([0.918, 0.920, 0.922]), pd.Series([0.92, 0.92, 0.92]))
    t = 0.5 / (0.2 / math.sqrt(3))
    assert test.p_value == pytest.approx((1 - t / math.sqrt(2 + t * t)) / 2)  # the t-distribution's tail, 2 degrees
    assert test.p_value < ALPHA


def test_a_large_difference_is_not_equivalent_however_small_its_spread():
    test = equivalence(pd.Series([0.90, 0.901, 0.9005]), pd.Series([0.92, 0.92, 0.92]))
    assert test.p_value > 0.99
    assert test.power > 0.9


@pytest.mark.parametrize("seeds", [0, 1])
def test_fewer_than_two_seeds_give_no_p_value_and_no_power(seeds):
    test = equivalence(OURS.iloc[:seeds], BASE.iloc[:seeds])
    assert test.difference.n == seeds
    assert all(math.isnan(value) for value in (test.deviation, test.p_value, test.power, test.seeds_needed))
    assert math.isnan(paired_p_value(OURS.iloc[:seeds], BASE.iloc[:seeds]))


def test_differences_without_spread_or_with_a_missing_figure_give_no_p_value():
    same, missing = pd.Series([0.9, 0.91]), pd.Series([0.9, math.nan])
    for values in (same, same + 0.01, missing):
        assert math.isnan(equivalence(values, same).p_value)
        assert math.isnan(paired_p_value(values, same))


@pytest.mark.parametrize(("n", "deviation"), [(3, 0.002), (5, 0.004), (10, 0.006), (2, 0.001)])
def test_the_power_is_the_share_of_rejections_in_a_simulation(n, deviation):
    draws = np.random.default_rng(0).normal(0, deviation, size=(20_000, n))
    error = draws.std(axis=1, ddof=1) / math.sqrt(n)
    rejected = np.abs(draws.mean(axis=1)) < MARGIN - stats.t.ppf(1 - ALPHA, n - 1) * error
    assert tost_power(n, deviation) == pytest.approx(rejected.mean(), abs=0.015)


def test_power_at_a_true_difference_of_the_margin_is_the_error_of_the_test():
    assert tost_power(30, 0.002, difference=MARGIN) == pytest.approx(ALPHA, abs=0.005)


def test_the_seeds_needed_are_the_fewest_with_the_power():
    for deviation in (0.001, 0.004, 0.01):
        n = int(seeds_for_power(deviation))
        assert tost_power(n, deviation) >= 0.8
        assert n == 2 or tost_power(n - 1, deviation) < 0.8
    assert math.isinf(seeds_for_power(1.0))
    assert tost_power(MOST_SEEDS, 1.0) == pytest.approx(0, abs=1e-9)


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04, and never falling
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_leaves_out_tests_that_could_not_be_made():
    corrected = holm([math.nan, 0.01, math.nan, 0.5])
    assert math.isnan(corrected[0])
    assert math.isnan(corrected[2])
    assert [corrected[1], corrected[3]] == pytest.approx([0.02, 0.5])


def test_the_paired_test_is_the_paired_t_test():
    common = [0, 1, 2]
    assert paired_p_value(OURS, BASE) == pytest.approx(stats.ttest_rel(OURS[common], BASE[common]).pvalue)
