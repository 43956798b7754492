"""The records as views of runs, indexed once for all claims, and what is known of the spread between their seeds."""

import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import pandas as pd

from repro.analysis import Evidence, Openings, Spread
from repro.analysis.evidence import KEYS
from repro.analysis.spread import NO_SPREAD, independent_sum, paired_spread, pooled_spread
from repro.claims.claim import Call
from repro.claims.queries import OUTCOMES, QUERIES, SEEDLESS, RunView
from repro.records import COMPLETED

LAYER_FIGURES = {"levels_min": ("levels", "min"), "levels_max": ("levels", "max"), "levels_mean": ("levels", "mean"),
                 "max_abs_weight": ("max_abs_weight", "max")}  # fmt: skip
Kind = tuple[str, int, float, int, bool]


def ask(query: Call, run: RunView) -> float:
    """A query on one run, in the units of records."""
    return QUERIES[query.name](run, **query.arguments)


class Runs:
    """The records as views of runs, and the pools of their figures."""

    def __init__(self, evidence: Evidence) -> None:
        """Index nothing yet: without records there is nothing to do."""
        self.evidence = evidence
        self._spreads: dict[str, Spread | None] = {}
        self._shared = Openings(evidence)

    @cached_property
    def _epochs(self) -> dict[Hashable, pd.DataFrame]:
        keys = [*KEYS, "epoch"]
        levels = self.evidence.layers.groupby(keys).agg(**LAYER_FIGURES).reset_index()
        joined = self.evidence.epochs.merge(levels, how="left", on=keys)
        return {key: rows.sort_values("epoch") for key, rows in joined.groupby(list(KEYS))}

    @cached_property
    def _views(self) -> dict[tuple[str, str], dict[int, RunView]]:
        experiments = self.evidence.config.experiments
        found: dict[tuple[str, str], dict[int, RunView]] = {}
        for row in _rows(self.evidence.runs):
            key = (row["scale"], row["experiment"], row["seed"])
            if key in self._epochs:
                length, of = int(row["epochs"]), int(experiments[row["experiment"]].settings["epochs"])
                view = RunView(epochs=self._epochs[key], facts=row, length=length, of=of)
                found.setdefault(key[:2], {})[row["seed"]] = view
        return found

    def views(self, scale: str, experiment: str, device: str = "", query: Call | None = None) -> dict[int, RunView]:
        """The runs of an experiment at a scale by seed; none where it is unknown or has no record.

        Args:
            scale: The scale.
            experiment: The experiment.
            device: Only runs on this device count; empty for any.
            query: One that names its epochs is answered for further seeds by other runs that are the same so far.
        """
        own = self._views.get((scale, experiment), {})
        last = query.last_epoch if query else None
        found = {**(self._same_so_far(scale, experiment, last) if last else {}), **own}
        return {seed: view for seed, view in found.items() if device in ("", view.facts["device"])}

    def _same_so_far(self, scale: str, experiment: str, last: int) -> dict[int, RunView]:
        """By seed, runs of other experiments whose first ``last`` epochs are this one's, bit for bit.

        What became of them later does not count.
        """
        found: dict[int, RunView] = {}
        for other, epochs in self._shared.of(scale, experiment).items():
            for seed, view in self._views.get((scale, other), {}).items() if last <= epochs else ():
                if view.epochs["epoch"].iloc[-1] >= last:
                    length = int(self.evidence.config.experiments[experiment].settings["epochs"])
                    facts = {**view.facts, "status": COMPLETED}
                    found.setdefault(seed, replace(view, facts=facts, length=length, of=length))
        return found

    def spread(self, query: Call, scale: str, arms: Sequence[tuple[RunView, float]], device: str = "") -> Spread | None:
        """The pooled spread between seeds of a figure, or of a sum of arms with coefficients, such as a difference.

        Arms of one data set whose coefficients add up to zero are paired within their seeds; arms of different data
        sets or lengths are taken as drawn apart.

        Args:
            query: The figure.
            scale: Scale of the runs.
            arms: A run of each arm, and its coefficient.
            device: Only runs on this device count; empty for any.

        Returns:
            In the units of records; ``None`` where no two seeds tell.
        """
        function = QUERIES[query.name]
        if function in SEEDLESS:
            return NO_SPREAD
        if function in OUTCOMES:
            return None
        kinds: dict[Kind, list[float]] = {}
        for view, coefficient in arms:
            kinds.setdefault(_kind(query, view), []).append(coefficient)
        parts: list[Spread | None] = []
        for kind, coefficients in kinds.items():
            paired = len(coefficients) > 1 and sum(coefficients) == 0
            one = self._pooled(query, scale, kind, device, paired)
            parts.append(one.times(sum(c * c for c in coefficients) ** 0.5) if one else None)
        return independent_sum(parts)

    def _pooled(self, query: Call, scale: str, kind: Kind, device: str, paired: bool) -> Spread | None:
        """The spread of one kind of runs, computed once for all claims that ask for it."""
        key = json.dumps([query.name, query.arguments, scale, kind, device, paired], sort_keys=True, default=list)
        if key not in self._spreads:
            figures = self._pool(query, scale, kind, device)
            self._spreads[key] = paired_spread(figures) if paired else pooled_spread(figures)
        return self._spreads[key]

    def _pool(self, query: Call, scale: str, kind: Kind, device: str) -> pd.DataFrame:
        """One row a seed, one column a trajectory: of its experiments, the first with the most seeds."""
        chosen: dict[str, pd.Series] = {}
        for known_scale, experiment in self._views:
            views = {
                seed: view
                for seed, view in self.views(known_scale, experiment, device).items()
                if known_scale == scale and _kind(query, view) == kind and view.facts["status"] == COMPLETED
            }
            if len(views) < 2:  # no spread of its own
                continue
            figures = pd.Series({seed: ask(query, view) for seed, view in views.items()}, dtype=float).dropna()
            if len(figures):
                trajectory = str(next(iter(views.values())).facts["trajectory"])
                known = next((key for key in chosen if _are_one(trajectory, figures, key, chosen[key])), None)
                if known is None or len(figures) > len(chosen[known]):
                    chosen.pop(known or trajectory, None)
                    chosen[trajectory] = figures
        return pd.DataFrame(chosen)


def _kind(query: Call, view: RunView) -> Kind:
    """What a run's figure has in common with those that it may be pooled with: the data set, and where it is read.

    A query that names its epochs reads the same of runs of any length that have the same share of their first rate
    there. One of the whole run does not: after 100 of the paper's epochs the learning rate is zero, after 150 back at
    half its start, where single epochs scatter far more. Weights that were quantised after training scatter otherwise
    than trained ones, and so does a training that is read at their epoch instead of its last.
    """
    last = query.last_epoch
    rates = [view.column("learning_rate", epoch, epoch) for epoch in (1, last)] if last else []
    share = round(float(rates[1].iloc[-1] / rates[0].iloc[0]), 2) if rates and all(map(len, rates)) else 0.0
    read = view.epochs["epoch"].iloc[-1] if view.weights_epoch < math.inf or view.cut else 0
    return str(view.facts["data"]), 0 if query.arguments else view.of, share, int(read), view.weights_epoch < math.inf


def _are_one(trajectory: str, figures: pd.Series, other: str, others: pd.Series) -> bool:
    """Whether two experiments are one training as far as a figure goes; see ``rows._trajectory``.

    Epoch 1 of any schedule is the same: there, runs of one recipe have equal figures in a seed that both have.
    """
    if trajectory == other:
        return True
    recipe = trajectory.partition("-")[0] == other.partition("-")[0]
    return recipe and bool((others.reindex(figures.index) == figures).any())


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
