"""The rules that turn figures into verdicts.

A rule has two parts. ``agrees`` compares the claim with a figure that has no noise: the result of arithmetic, or the
authors' log, which the paper reports, so both may differ by half a unit in the last printed digit and no more.
``measured`` compares it with runs of ours at scale ``paper``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from repro.claims.claim import Claim, Measurement, Reading

REPRODUCED = "reproduced"
WITHIN_NOISE = "within noise"
NOT_REPRODUCED = "not reproduced"
AGAINST_LOG = "contradicted by the authors' log"
AGAINST_ARITHMETIC = "contradicted by arithmetic"
NOT_TESTABLE = "not testable here"
NOT_MEASURED = "not measured yet"
VERDICTS = (
    REPRODUCED, WITHIN_NOISE, NOT_REPRODUCED, AGAINST_LOG, AGAINST_ARITHMETIC, NOT_TESTABLE, NOT_MEASURED,
)  # fmt: skip

EPSILON = 1e-9  # of floating point: 14.85 is within 0.05 of 14.8


@dataclass(frozen=True)
class Judgement:
    """A verdict and why."""

    verdict: str
    reason: str


@dataclass(frozen=True)
class Rule:
    """How a kind of claim is judged; see the module."""

    agrees: Callable[[Claim, Reading], bool]
    measured: Callable[[Claim, Measurement], Judgement]


def rounding(claim: Claim) -> float:
    """Half a unit in the last printed digit, in the claim's unit."""
    return 0.5 * 10.0**-claim.printed.digits + EPSILON


def equals(claim: Claim, reading: Reading) -> bool:
    """A range agrees end by end; a single figure lies in the printed range."""
    slack, printed = rounding(claim), claim.printed
    if reading.low != reading.high:
        return abs(reading.low - printed.low) <= slack and abs(reading.high - printed.high) <= slack
    return printed.low - slack <= reading.low <= printed.high + slack


def exceeds(claim: Claim, reading: Reading) -> bool:
    """More than the claimed bound."""
    return reading.low > claim.printed.low


def stays_below(claim: Claim, reading: Reading) -> bool:
    """At most the claimed bound."""
    return reading.high <= claim.printed.high + EPSILON


def possible_time(claim: Claim, reading: Reading) -> bool:
    """The claimed time is no shorter than the least possible."""
    return claim.printed.high + rounding(claim) >= reading.low


def within_tolerance(claim: Claim, value: float) -> bool:
    """Whether a measured figure is near enough to the claimed number or range."""
    return claim.printed.low - claim.tolerance - EPSILON <= value <= claim.printed.high + claim.tolerance + EPSILON


def judge_value(claim: Claim, measured: Measurement) -> Judgement:
    """The mean within the tolerance; failing that, the 95 % interval reaches the claimed value.

    One run outside both refutes nothing: the binomial error of its test set says nothing of other seeds.
    """
    mean = measured.estimate.value
    about = f"{claim.show(mean)} here, tolerance {claim.tolerance:g}"
    if within_tolerance(claim, mean):
        return Judgement(REPRODUCED, about)
    low, high = measured.interval or (mean, mean)
    if low <= claim.printed.high and high >= claim.printed.low:
        return Judgement(WITHIN_NOISE, f"{about}; the 95 % interval contains the claim")
    if len(measured.values) == 1:
        return Judgement(NOT_MEASURED, f"{about}; one run outside it refutes nothing, more seeds will tell")
    return Judgement(NOT_REPRODUCED, about)


def judge_every_seed(claim: Claim, measured: Measurement) -> Judgement:
    """A statement about every epoch or every run: each seed has to be within the tolerance, and noise is no excuse."""
    wrong = [value for value in measured.values if not within_tolerance(claim, value)]
    if wrong:
        shown = ", ".join(claim.show(value) for value in wrong)
        return Judgement(NOT_REPRODUCED, f"{len(wrong)} of {len(measured.values)} seeds differ: {shown}")
    return Judgement(REPRODUCED, f"holds for each of {len(measured.values)} seeds, tolerance {claim.tolerance:g}")


def judge_above(claim: Claim, measured: Measurement) -> Judgement:
    """The whole 95 % interval above the bound; undecided where it contains the bound."""
    low, high = measured.interval or (measured.estimate.value,) * 2
    right, wrong = low > claim.printed.low, high <= claim.printed.low
    return _against_bound(claim, right, wrong, low, high, known=measured.interval is not None)


def judge_below(claim: Claim, measured: Measurement) -> Judgement:
    """The whole 95 % interval below the bound; undecided where it contains the bound."""
    low, high = measured.interval or (measured.estimate.value,) * 2
    right, wrong = high <= claim.printed.high, low > claim.printed.high
    return _against_bound(claim, right, wrong, low, high, known=measured.interval is not None)


def _against_bound(claim: Claim, right: bool, wrong: bool, low: float, high: float, known: bool) -> Judgement:
    about = f"{claim.show(low)} to {claim.show(high)} here" if known else f"{claim.show(low)} here, no interval known"
    if right:
        return Judgement(REPRODUCED, about)
    if wrong:
        return Judgement(NOT_REPRODUCED, about)
    return Judgement(WITHIN_NOISE, f"{about}: the 95 % interval contains the bound")


def judge_parity(claim: Claim, measured: Measurement) -> Judgement:
    """Equivalence: the whole 95 % interval of the paired difference inside ±tolerance.

    That is two one-sided tests at 2.5 % each. A difference that is merely not significant is no parity: it is
    "within noise" where the interval reaches beyond the margin, and refuted where it lies outside altogether.
    """
    if measured.interval is None:
        return Judgement(WITHIN_NOISE, "one run without a known error decides nothing")
    low, high = measured.interval
    margin = claim.tolerance
    about = f"difference {claim.show(low)} to {claim.show(high)}, margin ±{margin:g}"
    if -margin <= low and high <= margin:
        return Judgement(REPRODUCED, about)
    if low > margin or high < -margin:
        return Judgement(NOT_REPRODUCED, about)
    return Judgement(WITHIN_NOISE, f"{about}: the interval decides nothing")


RULES: Mapping[str, Rule] = {
    "value": Rule(equals, judge_value),
    "every_seed": Rule(equals, judge_every_seed),
    "above": Rule(exceeds, judge_above),
    "below": Rule(stays_below, judge_below),
    "parity": Rule(equals, judge_parity),
    "time": Rule(possible_time, judge_value),
}
BOUNDS = {"above": "more than ", "below": "at most "}  # how a rule's value is introduced
