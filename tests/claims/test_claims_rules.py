"""Every rule, with figures on both sides of it: one seed, one seed with a pooled spread, three seeds."""

import pandas as pd
import pytest
from scipy import stats

from repro.analysis import Spread
from repro.analysis.spread import own_spread
from repro.claims.claim import Call, Claim, Findings, Measured, Measurement, Reading
from repro.claims.combine import COMBINE, decide
from repro.claims.judge import judge, judge_runs
from repro.claims.rules import (
    AGAINST_ARITHMETIC,
    AGAINST_ITSELF,
    AGAINST_LOG,
    NOT_MEASURED,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
    RULES,
    WITHIN_NOISE,
)
from repro.paper import parse_printed

POOLED = Spread(0.1, 4, "pooled over 2 experiments")  # one seed is known to ± 0.213
HALF = 0.1 * stats.t.ppf(0.95, 4)


def claim(rule, value="92.34", tolerance=0.5, unit="%", **changes):
    fields = {"query": Call("best_test_accuracy"), "experiments": ("main_cifar10",), **changes}
    return Claim(
        id="one", section="Abstract", place="Table I", statement="something", kind="number", rule=rule,
        value=parse_printed(value), unit=unit, tolerance=tolerance, **fields,
    )  # fmt: skip


def measured(*values, spread=None, diverged=0, lost=0, scale="paper"):
    spread = spread or own_spread(pd.Series(values))
    return Measurement(tuple(values), spread, 0.27, scale, "cifar10", "main_cifar10", diverged, lost)


def verdict(one, *values, spread=None, arithmetic=None, log=None):
    found = {"arithmetic": arithmetic, "log": log}
    readings = {key: Reading(*pair, "how") for key, pair in found.items() if pair is not None}
    runs = (Measured("paper", (measured(*values, spread=spread),)),) if values else ()
    result = judge(one, Findings(**readings, measured=runs))
    assert result.reason
    return result.verdict


def test_every_rule_and_combination_is_tested_here():
    assert set(RULES) == {"value", "every_seed", "above", "below", "parity", "possible", "time"}
    assert set(COMBINE) == {"closest", "each", "rank_of_first"}


ONE_WITHOUT = [
    ("value", "92.34", 92.34), ("value", "92.34", 12.0), ("parity", "0", 0.0), ("parity", "0", 5.0),
    ("above", "0", 9.0), ("above", "0", -9.0), ("below", "1", 0.0), ("below", "1", 9.0),
    ("every_seed", "15", 15.0), ("every_seed", "15", 3.0),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "value", "figure"), ONE_WITHOUT)
def test_one_seed_without_a_spread_decides_nothing_either_way(rule, value, figure):
    """Not even far off, and though the binomial error of the test images is known."""
    assert verdict(claim(rule, value), figure) == NOT_MEASURED


def test_a_spread_of_zero_is_a_spread():
    assert verdict(claim("every_seed", "15", 0.0), 15.0, spread=Spread(0.0, 3, "pooled")) == REPRODUCED


@pytest.mark.parametrize(
    ("values", "spread", "expected"),
    [
        ((92.3,), POOLED, REPRODUCED),
        ((92.84 - HALF - 0.01,), POOLED, REPRODUCED),
        ((92.84 - HALF + 0.01,), POOLED, WITHIN_NOISE),  # the mean is inside, its interval not
        ((92.84 + HALF - 0.01,), POOLED, WITHIN_NOISE),
        ((92.84 + HALF + 0.01,), POOLED, NOT_REPRODUCED),  # better is not the same
        ((91.84 - HALF - 0.01,), POOLED, NOT_REPRODUCED),
        ((92.2, 92.3, 92.4), None, REPRODUCED),
        ((92.0, 92.5, 92.9), None, WITHIN_NOISE),
        ((91.0, 91.6, 92.2), None, WITHIN_NOISE),
        ((91.0, 91.1, 91.2), None, NOT_REPRODUCED),
        ((93.2, 93.3, 93.4), None, NOT_REPRODUCED),
    ],
)
def test_value(values, spread, expected):
    assert verdict(claim("value"), *values, spread=spread) == expected


def test_value_in_a_range():
    one = claim("value", "85–88")
    assert verdict(one, 88.2, spread=POOLED) == REPRODUCED
    assert verdict(one, 88.6, spread=POOLED) == WITHIN_NOISE
    assert verdict(one, 90.0, spread=POOLED) == NOT_REPRODUCED
    assert verdict(one, 84.0, 84.1, 84.2) == NOT_REPRODUCED


def test_every_seed_lets_no_exception_through():
    one = claim("every_seed", "15", 1.0, unit="levels")
    assert verdict(one, 15, 15, 15) == REPRODUCED
    assert verdict(one, 15, 15, 15, 15, 15, 15, 13) == WITHIN_NOISE  # the mean is well inside, one seed is not
    assert verdict(one, 13, 15, 17) == WITHIN_NOISE
    assert verdict(one, 12, 12, 13) == NOT_REPRODUCED
    exact = claim("every_seed", "15", 0.0, unit="levels")
    assert verdict(exact, 14, 12, 14) == NOT_REPRODUCED  # none is right, though their interval reaches 15
    assert verdict(exact, 15, 12, 14) == WITHIN_NOISE
    assert verdict(one, 13, spread=POOLED) == NOT_REPRODUCED
    assert verdict(one, 15, spread=POOLED) == REPRODUCED
    assert verdict(one, 14, spread=POOLED) == WITHIN_NOISE


def test_above_and_below():
    above = claim("above", "0", unit="points")
    assert verdict(above, HALF + 0.01, spread=POOLED) == REPRODUCED
    assert verdict(above, HALF - 0.01, spread=POOLED) == WITHIN_NOISE
    assert verdict(above, -HALF + 0.01, spread=POOLED) == WITHIN_NOISE
    assert verdict(above, -HALF - 0.01, spread=POOLED) == NOT_REPRODUCED
    assert verdict(above, 0.5, 0.6, 0.7) == REPRODUCED
    assert verdict(above, -0.5, 0.1, 0.7) == WITHIN_NOISE
    assert verdict(above, -0.5, -0.6, -0.7) == NOT_REPRODUCED
    assert verdict(above, 0.0, 0.0, 0.0) == NOT_REPRODUCED  # equal is not better
    below = claim("below", "1", unit="points")
    assert verdict(below, 1 - HALF - 0.01, spread=POOLED) == REPRODUCED
    assert verdict(below, 1.0, spread=POOLED) == WITHIN_NOISE
    assert verdict(below, 1 + HALF + 0.01, spread=POOLED) == NOT_REPRODUCED
    assert verdict(below, 0.5, 0.6, 0.7) == REPRODUCED
    assert verdict(below, 0.5, 1.0, 1.4) == WITHIN_NOISE
    assert verdict(below, 1.5, 1.6, 1.7) == NOT_REPRODUCED
    assert verdict(below, 1.0, 1.0) == REPRODUCED


def test_parity_is_equivalence_not_a_missing_difference():
    one = claim("parity", "0", unit="points")
    assert verdict(one, -0.2, -0.1, 0.0) == REPRODUCED
    assert verdict(one, -1.5, 0.0, 1.5) == WITHIN_NOISE  # not significant, but nothing is shown
    assert verdict(one, -0.1, spread=POOLED) == REPRODUCED
    assert verdict(one, -0.1, spread=Spread(0.3, 4, "pooled")) == WITHIN_NOISE
    assert verdict(one, -1.0, -1.1, -1.2) == NOT_REPRODUCED
    assert verdict(one, 1.0, spread=POOLED) == NOT_REPRODUCED


def test_what_can_be_done_needs_one_run_that_does_it():
    one = claim("possible", "100", 0.0, unit="% completed")
    assert verdict(one, 100) == REPRODUCED
    assert verdict(one, 100, 0, 0) == REPRODUCED
    assert verdict(one, 0) == NOT_MEASURED
    assert verdict(one, 0, 0) == NOT_REPRODUCED


def test_a_time_is_decided_by_no_other_machine():
    one = claim("time", "2.5", unit="h")
    assert verdict(one, arithmetic=(4.8, 4.8)) == AGAINST_ARITHMETIC
    assert verdict(one, arithmetic=(1.0, 1.0)) == NOT_MEASURED
    for hours in ((2.4, 2.5), (0.5, 0.6), (2.4,), (20.0, 20.1, 20.0)):
        assert verdict(one, *hours, arithmetic=(1.0, 1.0)) == NOT_MEASURED


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
    one, wrong, right, runs = claim("value"), (80.0, 80.0), (92.34, 92.34), (92.3, 92.3, 92.3)
    itself = claim("value", against="section II says otherwise")
    assert verdict(itself, *runs, arithmetic=wrong, log=wrong) == AGAINST_ITSELF
    assert verdict(one, *runs, arithmetic=wrong, log=wrong) == AGAINST_ARITHMETIC
    assert verdict(one, *runs, arithmetic=right, log=wrong) == AGAINST_LOG
    assert verdict(one, *runs, arithmetic=right, log=right) == REPRODUCED
    assert verdict(one, arithmetic=right, log=right) == NOT_MEASURED
    assert verdict(claim("value", experiments=()), arithmetic=right) == REPRODUCED  # arithmetic alone decides
    assert verdict(claim("value", experiments=()), arithmetic=wrong) == AGAINST_ARITHMETIC
    assert verdict(claim("value", experiments=(), log="cifar10"), log=right) == NOT_MEASURED
    assert verdict(claim("", untestable="because"), *runs, log=wrong) == NOT_TESTABLE


def combined(combine, readings, missing=(), rule="value", value="84.1", tolerance=1.0):
    one = claim(rule, value, tolerance, combine=combine)
    return judge_runs(one, Measured("paper", tuple(readings), tuple(missing)))


def test_nothing_is_refuted_before_all_readings_have_run():
    far, near = measured(30.0, spread=POOLED), measured(84.0, spread=POOLED)
    waiting = combined("closest", [far], ["fixed_1", "global"])
    assert waiting.verdict == NOT_MEASURED
    assert "not all readings have run: fixed_1, global" in waiting.reason
    assert combined("closest", [far]).verdict == NOT_REPRODUCED
    assert combined("closest", [far, far]).verdict == NOT_REPRODUCED
    assert combined("closest", [far, near]).verdict == REPRODUCED  # the nearest counts
    assert combined("closest", [near], ["global"]).verdict == REPRODUCED  # what is shown needs no other


def test_the_interval_is_corrected_for_the_choice():
    """Alone reproduced or refuted; among six readings the same figure is neither."""
    inside, outside = measured(84.85, spread=POOLED), measured(85.35, spread=POOLED)
    far = [measured(30.0, spread=POOLED)] * 5
    assert combined("closest", [inside]).verdict == REPRODUCED
    assert combined("closest", [inside, *far]).verdict == WITHIN_NOISE
    assert combined("closest", [outside]).verdict == NOT_REPRODUCED
    assert "corrected for 6 readings" in combined("closest", [inside, *far]).reason
    assert combined("closest", [outside, *far]).verdict == NOT_REPRODUCED  # every one is refuted: nothing was chosen
    assert combined("closest", [inside], ["other"] * 5).verdict == NOT_MEASURED  # readings to come count as choices


def test_no_reading_that_is_open_is_passed_over():
    """The nearest is refuted by itself, another one's interval holds the value; and the order says nothing."""
    near, wide = measured(85.35, spread=POOLED), measured(88.0, spread=Spread(5.0, 4, "own"))
    for readings in ([near, wide], [wide, near]):
        assert combined("closest", readings).verdict == WITHIN_NOISE
    tight = measured(84.1, spread=POOLED)
    for readings in ([tight, wide], [wide, tight]):
        assert combined("closest", readings).verdict == REPRODUCED


def test_what_is_shown_is_what_decided():
    """Of two readings the one that is refuted, not the one whose mean is farther off but open."""
    one = claim("above", "0.5", combine="each")
    refuted, wide = measured(0.1, spread=POOLED), measured(-1.3, spread=Spread(5.0, 4, "own"))
    decision = decide(one, Measured("paper", (refuted, wide)))
    assert (decision.judgement.verdict, decision.shown, decision.choices) == (NOT_REPRODUCED, refuted, 2)


def test_a_figure_of_one_epoch_is_held_against_a_further_run():
    mean, single = claim("value"), claim("value", single=True)
    runs = (92.1, 92.3, 92.5)
    assert verdict(mean, *runs) == verdict(single, 92.33, 92.34, 92.35) == REPRODUCED
    assert verdict(single, *runs) == WITHIN_NOISE
    assert verdict(single, 94.0, 94.01, 94.02) == NOT_REPRODUCED


def test_seeds_that_diverged_before_a_figure_are_not_passed_over():
    one = claim("value")
    kept = judge_runs(one, Measured("paper", (measured(92.3, 92.3, 92.3),)))
    lost = judge_runs(one, Measured("paper", (measured(92.3, 92.3, 92.3, lost=1),)))
    assert (kept.verdict, lost.verdict) == (REPRODUCED, WITHIN_NOISE)
    assert "1 more of 4 seeds diverged before it" in lost.reason


def test_of_a_bound_the_reading_on_the_right_side_is_the_nearest():
    better, worse = measured(3.0, spread=POOLED), measured(0.05, spread=POOLED)
    assert combined("closest", [worse, better], rule="above", value="0").verdict == REPRODUCED
    assert combined("closest", [worse, measured(-3.0, spread=POOLED)], rule="below", value="0").verdict == REPRODUCED


def test_a_claim_of_all_readings():
    def each(*values, missing=()):
        readings = [measured(value, spread=POOLED) for value in values]
        return combined("each", readings, missing, rule="above", value="0.5").verdict

    assert each(3.0, 4.0, 5.0) == REPRODUCED  # no correction: each of them has to be
    assert each(3.0, 0.5, 5.0) == WITHIN_NOISE
    assert each(3.0, 0.1, 5.0) == NOT_REPRODUCED
    assert each(0.27) == NOT_REPRODUCED
    assert each(3.0, 0.27, 5.0) == WITHIN_NOISE  # one of three may be so by chance
    assert each(3.0, 4.0, missing=["third"]) == NOT_MEASURED
    assert each(3.0, 0.1, missing=["third"]) == NOT_REPRODUCED  # one counterexample is enough


def test_a_diverged_seed_says_so():
    one = judge(claim("value"), Findings(measured=(Measured("paper", (measured(10.0, diverged=1),)),)))
    assert (one.verdict, "diverged: only more seeds of its own" in one.reason) == (NOT_MEASURED, True)


SCALES = {"fp32": "paper", "bf16": "paper_bf16"}
FIGURES = {"yes": (92.3, 92.3, 92.3), "no": (80.0, 80.0, 80.1), "open": (80.0,), "noise": (91.0, 91.6, 92.2)}
VERDICT = {"yes": REPRODUCED, "no": NOT_REPRODUCED, "open": NOT_MEASURED, "noise": WITHIN_NOISE}


@pytest.mark.parametrize("bf16", FIGURES)
@pytest.mark.parametrize("fp32", FIGURES)
def test_precedence_where_both_arithmetics_have_runs(fp32, bf16):
    """FP32's verdict wherever it reaches one, else bfloat16's; they are never pooled."""
    found = {"fp32": fp32, "bf16": bf16}
    runs = [Measured(SCALES[name], (measured(*FIGURES[key], scale=SCALES[name]),)) for name, key in found.items()]
    result = judge(claim("value"), Findings(measured=tuple(runs)))
    expected = VERDICT[bf16 if fp32 == "open" else fp32]
    by = {"open": "paper_bf16" if bf16 != "open" else ""}.get(fp32, "paper")
    assert (result.verdict, result.decided_by) == (expected, by)
