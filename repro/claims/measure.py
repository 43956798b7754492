"""Figures for a claim: from the authors' log, and from the records of one scale, reading by reading."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from repro.analysis import ALPHA, Spread, after_training, estimate, in_bf16
from repro.analysis.spread import own_spread
from repro.claims.claim import Claim, Measurement, Reading
from repro.claims.queries import QUERIES, TEST_ACCURACIES, RunView
from repro.claims.runs import Runs, ask
from repro.config import Config
from repro.paper import authors_log
from repro.records import DIVERGED
from repro.units import STEPS, UNITS

OWN_SEEDS = 3  # from so many on a figure needs no other experiment's spread


def read_log(claim: Claim) -> Reading | None:
    """What the authors' log says, in the claim's unit; ``None`` where the claim asks no log."""
    if not claim.log:
        return None
    assert claim.query is not None
    value = ask(claim.query, _log_view(claim.log))
    if claim.log_minus:
        value -= ask(claim.query, _log_view(claim.log_minus))
    value *= UNITS[claim.unit][0]
    return Reading(value, value, f"the log has {claim.show(value)}")


def _log_view(dataset: str) -> RunView:
    log = authors_log(dataset)
    return RunView(epochs=log, facts={}, length=len(log), of=len(log))


@dataclass(frozen=True)
class Arms:
    """One reading of a claim: experiments with their coefficients, the first 1, what is subtracted -1."""

    arms: tuple[tuple[str, int], ...]

    def describe(self, config: Config, scale: str) -> str:
        """In words: one experiment, one less another, or a difference of two differences."""
        names = [arm_name(config, scale, experiment) for experiment, _ in self.arms]
        text = " less ".join(names[:2])
        return f"({text}) less ({' less '.join(names[2:])})" if names[2:] else text

    def after_training(self, config: Config) -> bool:
        """Whether one of its experiments is PTQ."""
        return any(after_training(config, experiment) for experiment, _ in self.arms)


def arm_name(config: Config, scale: str, experiment: str) -> str:
    """The title of an arm's experiment, but never FP32 where an unquantised run computes in bfloat16."""
    known = config.experiments.get(experiment)
    if known is None:
        return experiment
    rename = in_bf16(config, scale) and is_unquantised(config, experiment)
    return f"“{known.title.replace('FP32', 'unquantised (bf16)') if rename else known.title}”"


def is_unquantised(config: Config, experiment: str) -> bool:
    """Whether nothing quantises an experiment's weights."""
    settings = config.experiments[experiment].settings
    return all(settings[key]["name"] == "none" for key in ("quantizer", "ptq"))


def readings(claim: Claim) -> list[Arms]:
    """Every reading of a claim."""
    less = tuple(zip(claim.less, (-1, 1), strict=True)) if claim.less else ()
    return [
        Arms(((first, 1), *(((second, -1),) if second else ()), *less))
        for first in claim.experiments
        for second in claim.minus or ("",)
    ]


def measure(claim: Claim, runs: Runs, scale: str, reading: Arms) -> Measurement | None:
    """What the runs of a scale give for one reading; ``None`` where there are none, or they do not have the figure."""
    assert claim.query is not None
    factor = UNITS[claim.unit][0]
    sides = _sides(claim, runs, scale, reading)
    figures = _values(claim, reading, sides)
    values = figures.dropna()
    lost = [seed for seed in figures.index[figures.isna()] if any(_diverged(side[seed]) for side in sides)]
    if not len(values) or len(values) + len(lost) < len(figures):
        return None
    views = [side[seed] for side in sides for seed in values.index]
    diverged = sum(map(_diverged, views))
    firsts = [side[values.index[0]] for side in sides]
    spread = own_spread(values)
    if len(values) < OWN_SEEDS and not diverged:
        arms = [(view, float(coefficient)) for view, (_, coefficient) in zip(firsts, reading.arms, strict=True)]
        spread = _wider(spread, runs.spread(claim.query, scale, arms, claim.device))
    return Measurement(
        values=tuple(float(value) * factor for value in values),
        spread=_in_unit(spread, claim.unit),
        error=_binomial_error(claim, firsts) * factor,
        scale=scale,
        data=" and ".join(dict.fromkeys(str(view.facts["data"]) for view in firsts)),
        runs=reading.describe(runs.evidence.config, scale) + _read_from(claim, reading, sides),
        diverged=diverged,
        lost=len(lost),
        after_training=reading.after_training(runs.evidence.config),
    )


def _diverged(view: RunView) -> bool:
    return bool(view.facts["status"] == DIVERGED)


def _wider(own: Spread | None, pooled: Spread | None) -> Spread | None:
    """The pool's, unless its own two seeds lie farther apart than the others let expect (F test): then its own."""
    if own is None or pooled is None or not own.degrees < pooled.degrees < math.inf:
        return pooled or own
    others = pooled.degrees - own.degrees
    variance = (pooled.deviation**2 * pooled.degrees - own.deviation**2 * own.degrees) / others
    most = stats.f.ppf(1 - ALPHA, own.degrees, others) * max(variance, 0.0)
    return own if own.deviation**2 > most else pooled


def _read_from(claim: Claim, reading: Arms, sides: Sequence[dict[int, RunView]]) -> str:
    """Which runs are another experiment's that is the same so far, in words."""
    assert claim.query is not None
    found: dict[str, set[int]] = {}
    for (experiment, _), side in zip(reading.arms, sides, strict=True):
        for seed, view in side.items():
            if view.facts["experiment"] != experiment:
                found.setdefault(str(view.facts["title"]), set()).add(seed)
    named = [f"“{title}” with seed {', '.join(map(str, sorted(seeds)))}" for title, seeds in found.items()]
    same = f"the same up to epoch {claim.query.last_epoch}"
    return f" (read from {' and '.join(named)}, {same})" if named else ""


def _in_unit(spread: Spread | None, unit: str) -> Spread | None:
    return spread.times(UNITS[unit][0]).in_steps(STEPS.get(unit, 0.0)) if spread else None


def _sides(claim: Claim, runs: Runs, scale: str, reading: Arms) -> list[dict[int, RunView]]:
    """The views of each arm over the seeds that all have; like for like where one arm is PTQ.

    PTQ takes the weights of one epoch, so what it is compared with is read at that epoch.
    """
    sides = [runs.views(scale, experiment, claim.device, claim.query) for experiment, _ in reading.arms]
    common = sorted(set.intersection(*(set(side) for side in sides)))
    taken = {seed: min((side[seed] for side in sides), key=lambda view: view.weights_epoch) for seed in common}
    return [{seed: side[seed].as_taken(taken[seed]) for seed in common} for side in sides]


def _values(claim: Claim, reading: Arms, sides: Sequence[dict[int, RunView]]) -> pd.Series:
    assert claim.query is not None
    total = pd.Series(0.0, index=list(sides[0]), dtype=float)
    for (_, coefficient), side in zip(reading.arms, sides, strict=True):
        total += coefficient * pd.Series({seed: ask(claim.query, view) for seed, view in side.items()}, dtype=float)
    return total


def _binomial_error(claim: Claim, views: Sequence[RunView]) -> float:
    """Standard error of one accuracy, or of the difference of two; as if drawn apart, so not too small."""
    assert claim.query is not None
    if QUERIES[claim.query.name] not in TEST_ACCURACIES:
        return math.nan
    errors = [estimate([ask(claim.query, view)], view.fact("test_images")).standard_error for view in views]
    return math.hypot(*errors)


def rank_of_first(claim: Claim, runs: Runs, scale: str) -> Measurement | None:
    """Rank of the first reading's figure in each seed, 1 for the largest; ``None`` until all readings have run."""
    columns, found = [], []
    for reading in readings(claim):
        sides = _sides(claim, runs, scale, reading)
        columns.append(_values(claim, reading, sides))
        found += [view for side in sides for view in side.values()]
    table = pd.concat(columns, axis=1, keys=range(len(columns))).dropna()
    if table.empty:
        return None
    ranks = table.rank(axis=1, ascending=False)[0]
    names = ", ".join(reading.describe(runs.evidence.config, scale) for reading in readings(claim))
    return Measurement(
        values=tuple(float(rank) for rank in ranks),
        spread=own_spread(ranks),
        error=math.nan,
        scale=scale,
        data=" and ".join(dict.fromkeys(str(view.facts["data"]) for view in found)),
        runs=f"rank among {names}",
        diverged=sum(view.facts["status"] == DIVERGED for view in found),
        after_training=any(reading.after_training(runs.evidence.config) for reading in readings(claim)),
    )
