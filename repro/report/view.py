"""The records as tables and figures see them: one scale at a time, the strongest first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from repro.analysis import Evidence, after_training, deciding_scales, in_bf16, scale_order
from repro.config import Config
from repro.report.vocabulary import data_label
from repro.text import span

Key = tuple[str, str]


class Records:
    """The evidence, indexed once for all tables and figures."""

    def __init__(self, evidence: Evidence) -> None:
        """Index nothing yet."""
        self.evidence = evidence
        self.config: Config = evidence.config
        self.grids: dict[Key, Any] = {}  # of ``tables.table``, by table and scale: figures and story read them too

    @cached_property
    def scales(self) -> list[str]:
        """Scales with records that compare: those on CIFAR, strongest first; on digits only where that is all."""
        return self._found[not self._found[False]]

    @cached_property
    def digits(self) -> list[str]:
        """Scales with records on digits, while there are others."""
        return self._found[True] if self._found[False] else []

    @cached_property
    def _found(self) -> dict[bool, list[str]]:
        found = set(self.evidence.runs["scale"])
        order = dict.fromkeys(deciding_scales(self.config) + scale_order(self.config))
        names = [name for name in order if name in found]
        return {kind: [name for name in names if is_digits(self.config, name) == kind] for kind in (False, True)}

    @cached_property
    def frames(self) -> Mapping[str, Mapping[Key, pd.DataFrame]]:
        """Rows of ``epochs``, ``layers`` and ``weights`` by scale and experiment."""
        tables = {"epochs": self.evidence.epochs, "layers": self.evidence.layers, "weights": self.evidence.weights}
        return {
            name: {(str(key[0]), str(key[1])): rows for key, rows in frame.groupby(["scale", "experiment"], sort=False)}
            for name, frame in tables.items()
        }

    def place(self, scale: str) -> int:
        """Place of a scale in the page's switch, from 1; 0 where it is not offered."""
        return self.scales.index(scale) + 1 if scale in self.scales else 0

    def views(self, experiments: Iterable[str]) -> list["View"]:
        """A view of each scale that has any of the experiments, the strongest first.

        Scales of the paper's length come before shortened ones; among equals, the one that has more of their
        runs. Without any record, one at which they are to run.
        """
        wanted = set(experiments)
        found = [(scale, sum(len(self.evidence.select(scale, name)) for name in wanted)) for scale in self.scales]
        known = [pair for pair in found if pair[1]]
        known.sort(key=lambda pair: (not self.config.scales[pair[0]].decides, -pair[1]))
        names = [scale for scale, _ in known] or [self._waiting(wanted)]
        return [View(self, scale) for scale in names]

    def _waiting(self, experiments: set[str]) -> str:
        """The scale at which experiments without a record are to run: the fullest, or the first that they have."""
        known = [each for name, each in self.config.experiments.items() if name in experiments]
        scales = [self.fullest, *scale_order(self.config)]
        return next((scale for scale in scales if any(each.takes_part(scale) for each in known)), self.fullest)

    @cached_property
    def fullest(self) -> str:
        """The scale with most records; the configured one where there are none."""
        counts = self.evidence.runs["scale"].value_counts()
        return max(self.scales, key=lambda scale: int(counts[scale]), default=self.config.scale)


@dataclass(frozen=True)
class View:
    """The records of one scale."""

    records: Records
    scale: str

    @property
    def evidence(self) -> Evidence:
        """All records."""
        return self.records.evidence

    @property
    def config(self) -> Config:
        """The registry of experiments and scales."""
        return self.records.config

    @property
    def decides(self) -> bool:
        """Whether runs of this scale may decide a claim on a measured number."""
        return self.config.scales[self.scale].decides

    @property
    def comparable(self) -> bool:
        """Whether the paper's figures may be drawn over its runs: not over digits; alone where nothing was run."""
        return self.evidence.runs.empty or not is_digits(self.config, self.scale)

    @property
    def plain_name(self) -> str:
        """What a run without a quantiser is: nothing is FP32 in bfloat16 arithmetic."""
        return "Unquantised (bf16)" if in_bf16(self.config, self.scale) else "FP32"

    def runs(self, experiment: str | None) -> pd.DataFrame:
        """Rows of ``Evidence.runs`` by seed; empty where not run."""
        return self.evidence.select(self.scale, experiment or "")

    def frame(self, name: str, experiment: str) -> pd.DataFrame:
        """Rows of ``epochs``, ``layers`` or ``weights`` of an experiment."""
        found = self.records.frames[name].get((self.scale, experiment))
        return getattr(self.evidence, name).iloc[:0] if found is None else found

    def with_repeats(self) -> pd.DataFrame:
        """Rows of ``Evidence.runs``, those that were repeated on other machines included."""
        frames = [self.evidence.runs, self.evidence.repeats]
        runs = pd.concat([frame for frame in frames if len(frame)] or frames[:1])
        return runs[runs["scale"] == self.scale]

    def after_training(self, experiment: str | None) -> bool:
        """Whether an experiment quantises trained weights (PTQ)."""
        return after_training(self.config, experiment or "")

    def weights_taken(self, experiment: str | None) -> str:
        """Whose weights PTQ took, in words; empty for a training."""
        runs = self.runs(experiment)
        if runs.empty or not self.after_training(experiment):
            return ""
        after = span(runs["best_test_epoch"], "epoch")
        accuracy = self.evidence.weights_accuracy(self.scale, str(experiment))
        return f"PTQ of the weights after {after}{accuracy}: one accuracy, no epoch is chosen"

    def first(self, experiments: Iterable[str]) -> str | None:
        """The first of the experiments that has a record."""
        return next((name for name in experiments if len(self.runs(name))), None)

    def about(self, experiments: Iterable[str]) -> str:
        """Scale, data, seeds and epochs of the experiments' runs, such as ``short: CIFAR-10, 1 seed, 9 epochs``."""
        found = [rows for name in experiments if len(rows := self.runs(name))]
        if not found:
            return f"{self.scale}: not run"
        precisions, names, lengths = (
            dict.fromkeys(value for rows in found for value in rows[column])
            for column in ("precision", "data", "epochs")
        )
        seeds, epochs = span(map(len, found), "seed"), span(lengths, "epoch")
        return f"{self.scale}: {', '.join(map(data_label, sorted(names)))}, {seeds}, {epochs}, {', '.join(precisions)}"


def is_digits(config: Config, scale: str) -> bool:
    """Whether a scale puts digits in CIFAR's place."""
    names: Mapping[str, str] = config.scales[scale].dataset_map
    return any(name.startswith("digits") for name in names.values())
