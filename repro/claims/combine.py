"""How several readings of a claim make one verdict."""

from collections.abc import Callable, Mapping

from repro.claims.claim import Claim, Measured, Measurement
from repro.claims.rules import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, RULES, WITHIN_NOISE, Judgement


def shown(claim: Claim, measured: Measured) -> Measurement:
    """The measurement that stands for all readings: the nearest to the claim, or the weakest of ``each``."""
    return (max if claim.combine == "each" else min)(measured.found, key=lambda one: distance(claim, one.mean))


def distance(claim: Claim, value: float) -> float:
    """How far a value misses what is claimed; below zero for one on the right side of a bound."""
    printed = claim.printed
    if claim.rule == "above":
        return printed.low - value
    if claim.rule == "below":
        return value - printed.high
    return max(printed.low - value, value - printed.high, 0.0)


def closest(claim: Claim, measured: Measured) -> Judgement:
    """Where the paper leaves open what it ran, the nearest reading: in its favour, corrected for the choice."""
    judgement = RULES[claim.rule].measured(claim, shown(claim, measured), measured.choices)
    if measured.missing and judgement.verdict in (NOT_REPRODUCED, WITHIN_NOISE):
        return Judgement(NOT_MEASURED, f"{judgement.reason}; not all readings have run: {', '.join(measured.missing)}")
    return judgement


def each(claim: Claim, measured: Measured) -> Judgement:
    """A claim of all its readings: reproduced if each is; not if one is refuted, corrected for their number."""
    rule = RULES[claim.rule].measured
    corrected = [rule(claim, one, measured.choices) for one in measured.found]
    refuted = next((one for one in corrected if one.verdict == NOT_REPRODUCED), None)
    if refuted is not None:
        return refuted
    alone = [rule(claim, one, 1) for one in measured.found]
    if measured.missing:
        return Judgement(NOT_MEASURED, f"{alone[0].reason}; still to run: {', '.join(measured.missing)}")
    weakest = min(alone, key=lambda one: (NOT_MEASURED, NOT_REPRODUCED, WITHIN_NOISE, REPRODUCED).index(one.verdict))
    if weakest.verdict == NOT_REPRODUCED:  # but not once corrected
        return Judgement(WITHIN_NOISE, f"{weakest.reason}, which does not hold up among {measured.choices} readings")
    return weakest


def first(claim: Claim, measured: Measured) -> Judgement:
    """A claim of one figure."""
    return RULES[claim.rule].measured(claim, measured.found[0], 1)


COMBINE: Mapping[str, Callable[[Claim, Measured], Judgement]] = {
    "closest": closest,
    "each": each,
    "rank_of_first": first,
}
