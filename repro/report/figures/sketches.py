"""The course of every run, so small that all of them fit into one table: polylines that the page draws itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from repro.report.tables.columns import title_of
from repro.report.text import number
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
    epochs = dict(iter(records.evidence.epochs.groupby("path", sort=False)))
    found = []
    for run in records.evidence.runs.drop_duplicates("path").to_dict("records"):
        rows = epochs[run["path"]].drop_duplicates("epoch")
        if len(rows) > 1:
            title = title_of(View(records, run["scale"]), run["experiment"])
            about = f"{run['scale']}, seed {run['seed']}, {len(rows)} epochs"
            sketches = [_sketch(rows, *measure) for measure in MEASURES]
            found.append(Course(title, about, run["path"], sketches))
    return found


def _sketch(rows: pd.DataFrame, title: str, series: Mapping[str, str], factor: float, digits: int) -> Sketch:
    figures = rows[list(series.values())] * factor
    finite = figures.where(figures.abs() < math.inf)
    top = 100.0 if factor == 100 else float(finite.max().max()) or 1.0
    step = max(1, math.ceil(len(rows) / POINTS))
    kept = sorted({*range(0, len(rows), step), len(rows) - 1})
    lines = {
        name: " ".join(
            f"{WIDTH * place / (len(rows) - 1):.0f},{HEIGHT * (1 - value / top):.1f}"
            for place, value in zip(kept, finite[column].iloc[kept], strict=True)
            if value == value
        )
        for name, column in series.items()
    }
    last = (f"{name} {number(float(figures[column].iloc[-1]), digits)}".strip() for name, column in series.items())
    return Sketch(title, number(top, 0 if factor == 100 else digits), lines, ", ".join(last))
