"""The rules that turn figures into verdicts.

A rule has two parts. ``agrees`` compares the claim with a figure that has no noise: the result of arithmetic, or the
authors' log, which the paper reports, so both may differ by half a unit in the last printed digit and no more.
``measured`` compares it with runs of ours: the claim allows a band of values, and the interval of the measured mean
decides in both directions by the same test.

- **reproduced**: the whole interval lies inside the band.
- **not reproduced**: the whole interval lies outside it.
- **within noise**: neither; more seeds would tell.
- **not measured yet**: the spread between seeds is unknown, so there is no interval.

The interval is ``mean ± t(0.95, ν) s / √n`` over n seeds. Its two ends are one-sided tests at 0.05, so "reproduced" of
a band around a value is equivalence by two one-sided tests. s and ν are

- the runs' own standard deviation and n - 1, from three seeds on;
- with one or two seeds, the standard deviation pooled over all experiments of the scale and data set that have two
  seeds or more (``repro.analysis.spread``), of the same figure; for a difference, of paired differences. Figures of
  a whole run pool runs of one length. A training that serves several experiments counts once;
- unknown where no experiment has two seeds. A run that diverged is in no pool and has none: only its own seeds count.

Where the paper's figure is one epoch of one run, itself a draw, the interval is one for a further run: ``√(1 + 1/n)``
in place of ``√(1/n)``. The binomial error of the test images is shown beside accuracies and is part of no interval.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from repro.claims.claim import Claim, Measurement, Reading

REPRODUCED = "reproduced"
WITHIN_NOISE = "within noise"
NOT_REPRODUCED = "not reproduced"
AGAINST_LOG = "contradicted by the authors' log"
AGAINST_ARITHMETIC = "contradicted by arithmetic"
AGAINST_ITSELF = "contradicted by the paper's own text"
NOT_TESTABLE = "not testable here"
NOT_MEASURED = "not measured yet"
VERDICTS = (
    REPRODUCED, WITHIN_NOISE, NOT_REPRODUCED, AGAINST_LOG, AGAINST_ARITHMETIC, AGAINST_ITSELF, NOT_TESTABLE,
    NOT_MEASURED,
)  # fmt: skip

MEANINGS: Mapping[str, str] = {
    REPRODUCED: "the whole 90 % interval of runs at the paper's length lies inside what the claim allows, or "
    "arithmetic on printed numbers gives the claim",
    WITHIN_NOISE: "the interval lies partly inside, or seeds differ: more of them would tell",
    NOT_REPRODUCED: "the whole interval lies outside",
    AGAINST_LOG: "the log that the author published differs by more than the last printed digit, whatever runs say",
    AGAINST_ARITHMETIC: "printed numbers, or the network's shape, give another value",
    AGAINST_ITSELF: "another place of the paper says otherwise",
    NOT_TESTABLE: "it speaks of machines, runs or numbers that are not published",
    NOT_MEASURED: "no run at the paper's length, or one seed whose spread nothing tells; shortened runs decide nothing",
}

EPSILON = 1e-9  # of floating point: 14.85 is within 0.05 of 14.8


@dataclass(frozen=True)
class Judgement:
    """A verdict and why.

    Attributes:
        verdict: One of ``VERDICTS``.
        reason: In words.
        decided_by: ``arithmetic``, ``authors' log``, ``paper's text`` or the scale whose runs decided; empty for none.
    """

    verdict: str
    reason: str
    decided_by: str = ""


@dataclass(frozen=True)
class Band:
    """The values that a claim allows, both ends included unless ``above``, which leaves the lower one out."""

    low: float
    high: float
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether the claim allows a value."""
        return (value > self.low if self.above else value >= self.low - EPSILON) and value <= self.high + EPSILON

    def misses(self, low: float, high: float) -> bool:
        """Whether an interval lies outside altogether."""
        below = high <= self.low if self.above else high < self.low - EPSILON
        return below or low > self.high + EPSILON


Measured = Callable[[Claim, Measurement, int], Judgement]


@dataclass(frozen=True)
class Rule:
    """How a kind of claim is judged; see the module. The last argument of ``measured`` counts the readings."""

    agrees: Callable[[Claim, Reading], bool]
    measured: Measured


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


def around(claim: Claim) -> Band:
    """The printed number or range, give or take the tolerance."""
    return Band(claim.printed.low - claim.tolerance, claim.printed.high + claim.tolerance)


def greater(claim: Claim) -> Band:
    """More than the bound."""
    return Band(claim.printed.low, math.inf, above=True)


def at_most(claim: Claim) -> Band:
    """At most the bound."""
    return Band(-math.inf, claim.printed.high)


def in_band(band: Callable[[Claim], Band]) -> Measured:
    """The interval against the band, in both directions."""

    def measured(claim: Claim, found: Measurement, choices: int = 1) -> Judgement:
        return against(claim, band(claim), found, choices)

    return measured


def against(claim: Claim, band: Band, found: Measurement, choices: int) -> Judgement:
    """The rule of the module for one measurement and the band that the claim allows."""
    interval = found.interval(choices, single=claim.single)
    if interval is None:
        return Judgement(NOT_MEASURED, f"{claim.show(found.mean)} here, {unknown_spread(found)}")
    low, high = interval
    about = f"{claim.show(low)} to {claim.show(high)} here, {allowed(claim, band)}"
    if choices > 1:
        about += f", the interval corrected for {choices} readings"
    if found.lost:
        about += f"; {found.lost} more of {found.lost + len(found.values)} seeds diverged before it"
        return Judgement(NOT_REPRODUCED if band.misses(low, high) else WITHIN_NOISE, about)
    if band.holds(low) and band.holds(high):
        return Judgement(REPRODUCED, about)
    if band.misses(low, high):
        return Judgement(NOT_REPRODUCED, about)
    return Judgement(WITHIN_NOISE, f"{about}: the interval decides nothing")


def every_seed(claim: Claim, found: Measurement, choices: int = 1) -> Judgement:
    """A statement about every run: as in a band, and no seed may be an exception; refuted where all seeds are."""
    band = around(claim)
    judgement = against(claim, band, found, choices)
    wrong = [claim.show(value) for value in found.values if not band.holds(value)]
    if not wrong or len(found.values) < 2:
        return judgement
    reason = f"{judgement.reason}; {len(wrong)} of {len(found.values)} seeds differ: {', '.join(wrong)}"
    return Judgement(NOT_REPRODUCED if len(wrong) == len(found.values) else WITHIN_NOISE, reason)


def possible(claim: Claim, found: Measurement, choices: int = 1) -> Judgement:
    """A statement that something can be done: one run that does it proves it."""
    if any(around(claim).holds(value) for value in found.values):
        return Judgement(REPRODUCED, "it can be done: a run did it")
    return against(claim, around(claim), found, choices)


def time(claim: Claim, found: Measurement, choices: int = 1) -> Judgement:
    """A time on the authors' machine: neither a faster one nor a slower one decides anything of it."""
    return Judgement(NOT_MEASURED, f"{claim.show(found.mean)} here: another machine decides nothing of the authors'")


def unknown_spread(found: Measurement) -> str:
    """Why there is no interval."""
    seeds = "one seed" if len(found.values) == 1 else f"{len(found.values)} seeds"
    if found.diverged:
        return f"{seeds}, diverged: only more seeds of its own could tell"
    return f"{seeds}, and nothing at scale {found.scale} has the two seeds that a spread needs"


def allowed(claim: Claim, band: Band) -> str:
    """A band in words."""
    if band.high == math.inf:
        return f"has to be above {claim.show(band.low)}"
    if band.low == -math.inf:
        return f"has to be at most {claim.show(band.high)}"
    if band.low == band.high:
        return f"has to be {claim.show(band.low)}"
    why = f" (±{claim.show(claim.tolerance)}: {claim.because})" if claim.tolerance else ""
    return f"has to be {claim.show(band.low)} to {claim.show(band.high)}{why}"


RULES: Mapping[str, Rule] = {
    "value": Rule(equals, in_band(around)),
    "parity": Rule(equals, in_band(around)),
    "above": Rule(exceeds, in_band(greater)),
    "below": Rule(stays_below, in_band(at_most)),
    "every_seed": Rule(equals, every_seed),
    "possible": Rule(equals, possible),
    "time": Rule(possible_time, time),
}
BOUNDS = {"above": "more than ", "below": "at most "}  # how a rule's value is introduced
