"""How several readings of a claim make one verdict, and which of them stands for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from repro.claims.claim import Claim, Measured, Measurement
from repro.claims.rules import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, RULES, WITHIN_NOISE, Judgement


@dataclass(frozen=True)
class Decision:
    """A verdict and the measurement behind it.

    Attributes:
        judgement: The verdict.
        shown: The measurement that gave it: what is shown as the claim's figure.
        choices: Readings for which its interval was corrected.
    """

    judgement: Judgement
    shown: Measurement
    choices: int = 1


def distance(claim: Claim, value: float) -> float:
    """How far a value misses what is claimed; below zero for one on the right side of a bound."""
    printed = claim.printed
    if claim.rule == "above":
        return printed.low - value
    if claim.rule == "below":
        return value - printed.high
    return max(printed.low - value, value - printed.high, 0.0)


def _judged(claim: Claim, ordered: Sequence[Measurement], choices: int = 1) -> list[Decision]:
    """Each reading by the claim's rule, its interval corrected for so many."""
    rule = RULES[claim.rule].measured
    return [Decision(rule(claim, one, choices), one, choices) for one in ordered]


def _because(decision: Decision, verdict: str, reason: str) -> Decision:
    """The same measurement with another verdict, and why."""
    return replace(decision, judgement=Judgement(verdict, f"{decision.judgement.reason}{reason}"))


def _first(decisions: Sequence[Decision], verdict: str) -> Decision | None:
    return next((one for one in decisions if one.judgement.verdict == verdict), None)


def closest(claim: Claim, measured: Measured) -> Decision:
    """Where the paper leaves open what it ran, any of its readings will do.

    Reproduced if one is, corrected for their number: it was chosen. Not reproduced if every one is refuted, which
    needs no correction, for nothing was chosen then. A reading that has not run could still reproduce it.
    """
    ordered = sorted(measured.found, key=lambda one: distance(claim, one.mean))
    corrected, alone = _judged(claim, ordered, measured.choices), _judged(claim, ordered)
    reproduced = _first(corrected, REPRODUCED)
    if reproduced is not None:
        return reproduced
    if measured.missing:
        return _because(alone[0], NOT_MEASURED, f"; not all readings have run: {', '.join(measured.missing)}")
    if all(one.judgement.verdict == NOT_REPRODUCED for one in alone):
        every = f"; all {measured.choices} readings are refuted" if measured.choices > 1 else ""
        return _because(alone[0], NOT_REPRODUCED, every)
    undecided = _first(corrected, WITHIN_NOISE) or _first(alone, NOT_MEASURED)
    return undecided or _because(corrected[0], WITHIN_NOISE, "; not every reading is refuted")


def each(claim: Claim, measured: Measured) -> Decision:
    """A claim of all its readings: reproduced if each is; not if one is refuted, corrected for their number."""
    ordered = sorted(measured.found, key=lambda one: distance(claim, one.mean), reverse=True)  # the weakest first
    corrected, alone = _judged(claim, ordered, measured.choices), _judged(claim, ordered)
    refuted = _first(corrected, NOT_REPRODUCED)
    if refuted is not None:
        return refuted
    if measured.missing:
        return _because(alone[0], NOT_MEASURED, f"; still to run: {', '.join(measured.missing)}")
    order = (NOT_MEASURED, NOT_REPRODUCED, WITHIN_NOISE, REPRODUCED)
    weakest = min(alone, key=lambda one: order.index(one.judgement.verdict))
    if weakest.judgement.verdict == NOT_REPRODUCED:  # but not once corrected
        return _because(weakest, WITHIN_NOISE, f", which does not hold up among {measured.choices} readings")
    return weakest


def first(claim: Claim, measured: Measured) -> Decision:
    """A claim of one figure."""
    return _judged(claim, measured.found)[0]


COMBINE: Mapping[str, Callable[[Claim, Measured], Decision]] = {
    "closest": closest,
    "each": each,
    "rank_of_first": first,
}


def decide(claim: Claim, measured: Measured) -> Decision:
    """The verdict of one scale's runs, and the measurement that stands for them."""
    return COMBINE[claim.combine](claim, measured)
