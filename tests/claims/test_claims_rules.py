"""Every rule, with figures on both sides of it."""

import math

import pytest

from repro.analysis import Estimate, estimate
from repro.claims.claim import Call, Claim, Measurement, Reading
from repro.claims.judge import Findings, judge
from repro.claims.rules import (
    AGAINST_ARITHMETIC,
    AGAINST_LOG,
    NOT_MEASURED,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
    RULES,
    WITHIN_NOISE,
)
from repro.paper import parse_printed


def claim(rule, value="92.34", tolerance=0.5, unit="%", **changes):
    fields = {"query": Call("best_test_accuracy"), "experiments": ("main_cifar10",), **changes}
    return Claim(
        id="one", section="Abstract", place="Table I", statement="something", kind="number", rule=rule,
        value=parse_printed(value), unit=unit, tolerance=tolerance, **fields,
    )  # fmt: skip


def measured(*values, error=math.nan):
    figure = estimate(values)
    if len(values) == 1:
        figure = Estimate(figure.value, math.nan, math.nan, error, 1)
    return Measurement(figure, tuple(values), "paper", "cifar10", "main_cifar10", 0)


def verdict(one, *values, error=math.nan, arithmetic=None, log=None):
    found = {"arithmetic": arithmetic, "log": log}
    readings = {key: Reading(*pair, "how") for key, pair in found.items() if pair is not None}
    result = judge(one, Findings(**readings, measured=measured(*values, error=error) if values else None))
    assert result.reason
    return result.verdict


def test_every_rule_is_tested_here():
    assert set(RULES) == {"value", "every_seed", "above", "below", "parity", "time"}


@pytest.mark.parametrize(
    ("values", "error", "expected"),
    [
        ((92.0, 92.5, 92.9), math.nan, REPRODUCED),
        ((91.84,), 0.27, REPRODUCED),  # exactly at the tolerance
        ((91.0, 91.6, 92.2), math.nan, WITHIN_NOISE),  # mean 91.6 is outside, its interval contains 92.34
        ((91.82,), 0.27, WITHIN_NOISE),
        ((91.0, 91.1, 91.2), math.nan, NOT_REPRODUCED),
        ((91.5,), 0.27, NOT_MEASURED),  # one run: the spread over seeds is not known
        ((91.5,), math.nan, NOT_MEASURED),
        ((93.2, 93.3, 93.4), math.nan, NOT_REPRODUCED),  # better is not the same
    ],
)
def test_value(values, error, expected):
    assert verdict(claim("value"), *values, error=error) == expected


def test_value_in_a_range():
    one = claim("value", "85–88")
    assert verdict(one, 88.4, error=0.3) == REPRODUCED
    assert verdict(one, 88.55, error=0.3) == WITHIN_NOISE
    assert verdict(one, 90.0, error=0.3) == NOT_MEASURED
    assert verdict(one, 90.0, 90.1) == NOT_REPRODUCED


def test_every_seed_knows_no_noise():
    one = claim("every_seed", "15", tolerance=0, unit="levels")
    assert verdict(one, 15, 15, 15) == REPRODUCED
    assert verdict(one, 13, 15, 17) == NOT_REPRODUCED  # the mean is 15 and the interval wide
    assert verdict(one, 14) == NOT_REPRODUCED


def test_above_and_below():
    above = claim("above", "0", unit="points")
    assert verdict(above, 0.5, 0.6, 0.7) == REPRODUCED
    assert verdict(above, 0.5, error=0.38) == WITHIN_NOISE
    assert verdict(above, -0.5, -0.6, -0.7) == NOT_REPRODUCED
    assert verdict(above, 0.0, 0.0, 0.0) == NOT_REPRODUCED  # equal is not better
    below = claim("below", "1", unit="points")
    assert verdict(below, 0.5, 0.6, 0.7) == REPRODUCED
    assert verdict(below, 0.5, 1.0, 1.4) == WITHIN_NOISE
    assert verdict(below, 1.5, 1.6, 1.7) == NOT_REPRODUCED
    assert verdict(below, 1.0) == REPRODUCED


def test_parity_is_equivalence_not_a_missing_difference():
    one = claim("parity", "0", unit="points")
    assert verdict(one, -0.2, -0.1, 0.0) == REPRODUCED
    assert verdict(one, -1.5, 0.0, 1.5) == WITHIN_NOISE  # not significant, but nothing is shown
    assert verdict(one, -0.1, error=0.38) == WITHIN_NOISE  # one run is too little for a margin of 0.5
    assert verdict(one, -0.1) == WITHIN_NOISE
    assert verdict(one, -1.0, -1.1, -1.2) == NOT_REPRODUCED
    assert verdict(one, 1.0, 1.1, 1.2) == NOT_REPRODUCED


def test_time_is_contradicted_only_by_a_longer_least_time():
    one = claim("time", "2.5", unit="h")
    assert verdict(one, arithmetic=(4.8, 4.8)) == AGAINST_ARITHMETIC
    assert verdict(one, arithmetic=(1.0, 1.0)) == NOT_MEASURED
    assert verdict(one, 2.7, arithmetic=(1.0, 1.0)) == REPRODUCED
    assert verdict(one, 20.0, 20.1, arithmetic=(1.0, 1.0)) == NOT_REPRODUCED


def test_the_log_may_differ_by_half_a_unit_in_the_last_digit():
    one = claim("value", "14.8", unit="levels")
    assert verdict(one, log=(14.85, 14.85)) == NOT_MEASURED
    assert verdict(one, log=(14.86, 14.86)) == AGAINST_LOG
    ranged = claim("value", "1.5–2.5", unit="points")
    assert verdict(ranged, arithmetic=(1.5, 2.5)) == NOT_MEASURED
    assert verdict(ranged, arithmetic=(1.5, 3.0)) == AGAINST_ARITHMETIC
    assert verdict(ranged, log=(2.0, 2.0)) == NOT_MEASURED


@pytest.mark.parametrize(("rule", "good", "bad"), [("above", 0.95, 0.9), ("below", 0.9, 0.95)])
def test_bounds_against_the_log(rule, good, bad):
    one = claim(rule, "0.9", unit="rank correlation")
    assert verdict(one, log=(good, good)) == NOT_MEASURED
    assert verdict(one, log=(bad, bad)) == AGAINST_LOG


def test_the_order_of_the_rules():
    one, wrong, right = claim("value"), (80.0, 80.0), (92.34, 92.34)
    assert verdict(one, 92.3, arithmetic=wrong, log=wrong) == AGAINST_ARITHMETIC
    assert verdict(one, 92.3, arithmetic=right, log=wrong) == AGAINST_LOG
    assert verdict(one, 92.3, arithmetic=right, log=right) == REPRODUCED
    assert verdict(one, arithmetic=right, log=right) == NOT_MEASURED
    assert verdict(claim("value", experiments=()), arithmetic=right) == REPRODUCED  # arithmetic alone decides
    assert verdict(claim("value", experiments=()), arithmetic=wrong) == AGAINST_ARITHMETIC
    assert verdict(claim("value", experiments=(), log="cifar10"), log=right) == NOT_MEASURED
    assert verdict(claim("", untestable="because"), 92.3, log=wrong) == NOT_TESTABLE
