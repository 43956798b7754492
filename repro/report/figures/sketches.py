"""The course of every run, so small that all of them fit into one table: polylines that the page draws itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from repro.analysis.evidence import KEYS
from repro.report.experiments import title_of
from repro.report.text import EMPTY, number
from repro.report.view import Records, View

WIDTH, HEIGHT, POINTS = 150, 36, 60  # of a sketch; more points would not be seen
# Title, columns of epochs.csv, factor and decimals of the words beside it; what counts in per cent shares one axis.
MEASURES = (
    ("accuracy (%)", {"train": "train_accuracy", "test": "test_accuracy"}, 100, 1),
    ("loss", {"train": "train_loss", "test": "test_loss"}, 1, 3),
    ("learning rate", {"": "learning_rate"}, 1, 5),
)


@dataclass(frozen=True)
class Sketch:
    """One measure of a run over its epochs.

    Attributes:
        title: What it shows.
        top: The upper end of its axis, which starts at zero.
        lines: By series, the points of its line.
        last: The figures after the last epoch.
    """

    title: str
    top: str
    lines: Mapping[str, str]
    last: str


@dataclass(frozen=True)
class Course:
    """A run: its title, what else is to know, and its sketches."""

    title: str
    about: str
    path: str
    sketches: list[Sketch]


def courses(records: Records) -> list[Course]:
    """Every run that trained, once, in the order of the records."""
    epochs = records.evidence.epochs.drop_duplicates(["path", "epoch"])
    by_path = {path: rows for path, rows in epochs.groupby("path", sort=False) if len(rows) > 1}
    runs = records.evidence.runs.drop_duplicates("path")
    return [
        Course(
            title_of(View(records, scale), experiment),
            f"{scale}, seed {seed}, {len(by_path[path])} epochs",
            path,
            [_sketch(by_path[path], *measure) for measure in MEASURES],
        )
        for path, scale, experiment, seed in zip(*(runs[name] for name in ("path", *KEYS)), strict=True)
        if path in by_path
    ]


def _sketch(rows: pd.DataFrame, title: str, series: Mapping[str, str], factor: float, digits: int) -> Sketch:
    figures = {name: (rows[column].to_numpy() * factor).tolist() for name, column in series.items()}
    finite = [value for values in figures.values() for value in values if math.isfinite(value)]
    top = 100.0 if factor == 100 else max(finite, default=0.0) or 1.0
    count = len(rows)
    kept = sorted({*range(0, count, max(1, math.ceil(count / POINTS))), count - 1})
    lines = {
        name: " ".join(
            f"{WIDTH * place / (count - 1):.0f},{HEIGHT * (1 - values[place] / top):.1f}"
            for place in kept
            if math.isfinite(values[place])
        )
        for name, values in figures.items()
    }
    ends = {name: number(ys[-1], digits) if math.isfinite(ys[-1]) else EMPTY for name, ys in figures.items()}
    last = ", ".join(f"{name} {end}".strip() for name, end in ends.items())
    return Sketch(title, number(top, 0 if factor == 100 else digits), lines, last)
