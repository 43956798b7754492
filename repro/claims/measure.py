"""Figures for a claim: from the authors' log, and from the records of one scale."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from repro.analysis import Evidence, estimate
from repro.analysis.evidence import KEYS
from repro.claims.claim import UNITS, Claim, Measurement, Reading
from repro.claims.queries import QUERIES, TEST_ACCURACIES, RunView
from repro.paper import authors_log
from repro.records import DIVERGED

LEVELS = {"levels_min": ("levels", "min"), "levels_max": ("levels", "max"), "levels_mean": ("levels", "mean"),
          "max_abs_weight": ("max_abs_weight", "max")}  # fmt: skip


def ask(claim: Claim, run: RunView) -> float:
    """The claim's query on one run, in the units of records."""
    assert claim.query is not None
    return QUERIES[claim.query.name](run, **claim.query.arguments)


def read_log(claim: Claim) -> Reading | None:
    """What the authors' log says, in the claim's unit; ``None`` where the claim asks no log."""
    if not claim.log:
        return None
    value = ask(claim, _log_view(claim.log))
    if claim.log_minus:
        value -= ask(claim, _log_view(claim.log_minus))
    value *= UNITS[claim.unit][0]
    return Reading(value, value, f"the log has {claim.show(value)}")


def _log_view(dataset: str) -> RunView:
    log = authors_log(dataset)
    return RunView(epochs=log, facts={}, planned=len(log), of=len(log))


class Runs:
    """The records as views of runs, indexed once for all claims."""

    def __init__(self, evidence: Evidence) -> None:
        """Index nothing yet: without records there is nothing to do."""
        self.evidence = evidence

    @cached_property
    def _epochs(self) -> dict[Hashable, pd.DataFrame]:
        keys = [*KEYS, "epoch"]
        levels = self.evidence.layers.groupby(keys).agg(**LEVELS).reset_index()
        joined = self.evidence.epochs.merge(levels, how="left", on=keys)
        return {key: rows.sort_values("epoch") for key, rows in joined.groupby(list(KEYS))}

    @cached_property
    def _views(self) -> dict[tuple[str, str], dict[int, RunView]]:
        experiments = self.evidence.config.experiments
        found: dict[tuple[str, str], dict[int, RunView]] = {}
        for row in _rows(self.evidence.runs):
            key = (row["scale"], row["experiment"], row["seed"])
            if key in self._epochs:
                planned, of = int(row["epochs"]), int(experiments[row["experiment"]].settings["epochs"])
                view = RunView(epochs=self._epochs[key], facts=row, planned=planned, of=of)
                found.setdefault(key[:2], {})[row["seed"]] = view
        return found

    def views(self, scale: str, experiment: str, device: str = "") -> dict[int, RunView]:
        """The runs of an experiment at a scale by seed; none where it is unknown or has no record."""
        found = self._views.get((scale, experiment), {})
        return {seed: view for seed, view in found.items() if device in ("", view.facts["device"])}


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


@dataclass(frozen=True)
class Candidate:
    """One reading of a claim: an experiment, or the difference of two, over their common seeds.

    Attributes:
        values: One figure a seed, in the claim's unit.
        error: Binomial standard error of a single run, for test accuracies; NaN otherwise.
        runs: What was run, in words.
        views: The runs.
    """

    values: pd.Series
    error: float
    runs: str
    views: Sequence[RunView]


Combine = Callable[[Claim, Sequence[Candidate]], Candidate | None]


def closest(claim: Claim, candidates: Sequence[Candidate]) -> Candidate | None:
    """Where the paper leaves open what it ran, the reading nearest to its figure: in favour of the paper."""

    def distance(candidate: Candidate) -> float:
        mean, printed = candidate.values.mean(), claim.printed
        return 0.0 if printed.low <= mean <= printed.high else min(abs(mean - printed.low), abs(mean - printed.high))

    known = [one for one in candidates if len(one.values) and not one.values.isna().any()]
    return min(known, key=distance, default=None)


def smallest(claim: Claim, candidates: Sequence[Candidate]) -> Candidate | None:
    """The smallest figure of each seed; none until every candidate has been run."""
    return _across(candidates, lambda table: table.min(axis=1), "smallest of ")


def rank_of_first(claim: Claim, candidates: Sequence[Candidate]) -> Candidate | None:
    """Rank of the first candidate's figure in each seed, 1 for the largest; none until all have been run."""
    found = _across(candidates, lambda table: table.rank(axis=1, ascending=False)[0], "rank among ")
    return replace(found, error=math.nan) if found else None


def _across(
    candidates: Sequence[Candidate], reduce: Callable[[pd.DataFrame], pd.Series], what: str
) -> Candidate | None:
    table = pd.concat([candidate.values for candidate in candidates], axis=1, keys=range(len(candidates))).dropna()
    if table.empty:
        return None
    return Candidate(
        values=reduce(table),
        error=max(candidate.error for candidate in candidates),
        runs=what + ", ".join(candidate.runs for candidate in candidates),
        views=[view for candidate in candidates for view in candidate.views],
    )


COMBINE: Mapping[str, Combine] = {"closest": closest, "smallest": smallest, "rank_of_first": rank_of_first}


def measure(claim: Claim, runs: Runs, scale: str) -> Measurement | None:
    """What the runs of a scale give for a claim; ``None`` where there are none, or they do not have the figure."""
    pairs = [(first, second) for first in claim.experiments for second in claim.minus or ("",)]
    if not pairs:
        return None
    found = COMBINE[claim.combine](claim, [_candidate(claim, runs, scale, *pair) for pair in pairs])
    if found is None or found.values.isna().any():
        return None
    figure = estimate(found.values)
    if figure.n == 1:
        figure = replace(figure, standard_error=found.error)
    return Measurement(
        estimate=figure,
        values=tuple(float(value) for value in found.values),
        scale=scale,
        data=" and ".join(dict.fromkeys(str(view.facts["data"]) for view in found.views)),
        runs=found.runs,
        diverged=sum(view.facts["status"] == DIVERGED for view in found.views),
    )


def _candidate(claim: Claim, runs: Runs, scale: str, experiment: str, minus: str) -> Candidate:
    factor = UNITS[claim.unit][0]
    sides = [runs.views(scale, name, claim.device) for name in (experiment, minus) if name]
    common = sorted(set.intersection(*(set(side) for side in sides)))
    figures = [pd.Series([ask(claim, side[seed]) for seed in common], index=common, dtype=float) for side in sides]
    values = figures[0] - figures[1] if len(figures) == 2 else figures[0]
    views = [side[seed] for side in sides for seed in common]
    return Candidate(
        values=values * factor,
        error=_binomial_error(claim, views) * factor if len(common) == 1 else math.nan,
        runs=f"{experiment} less {minus}" if minus else experiment,
        views=views,
    )


def _binomial_error(claim: Claim, views: Sequence[RunView]) -> float:
    """Standard error of one accuracy, or of the difference of two; as if drawn apart, so not too small."""
    assert claim.query is not None
    if QUERIES[claim.query.name] not in TEST_ACCURACIES:
        return math.nan
    errors = [estimate([ask(claim, view)], view.fact("test_images")).standard_error for view in views]
    return math.hypot(*errors)
