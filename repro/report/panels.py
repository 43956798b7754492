"""What the figures of runs share: panel titles, axes beside each other, and a panel that says that nothing was run."""

from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.analysis import Evidence
from repro.report.labels import data_label, epochs_label, seeds_label
from repro.report.style import TOP, WIDTH

NOT_RUN_HERE = "Not run here"
Row = tuple[float, float, int]


def run_panel(scale: str, runs: pd.DataFrame) -> str:
    """Scale, data, seeds, n and epochs of one experiment's runs; rows of ``Evidence.select``."""
    names = ", ".join(data_label(name) for name in dict.fromkeys(runs["data"]))
    epochs = epochs_label(int(runs["epochs"].max()))
    return f"Scale {scale} · {names} · {seeds_label(runs.index)} (n = {len(runs)}) · {epochs}"


def first_with_runs(evidence: Evidence, scale: str, experiments: Iterable[str]) -> str | None:
    """The first of the experiments that has a record at the scale."""
    return next((name for name in experiments if not evidence.select(scale, name).empty), None)


def rows_of(frame: pd.DataFrame, scale: str, experiment: str) -> pd.DataFrame:
    """Rows of one of the evidence's frames that belong to an experiment at a scale."""
    part: pd.DataFrame = frame[(frame["scale"] == scale) & (frame["experiment"] == experiment)]
    return part


def nothing_run(columns: Sequence[str]) -> pd.DataFrame:
    """The data of a figure without any record: one row that names the panel."""
    return pd.DataFrame([{"panel": NOT_RUN_HERE, "scale": ""}], columns=list(columns))


def draw_nothing(ax: Axes, text: str = "not run") -> None:
    """An empty panel that says so."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", style="italic")


def grid_axes(rows: Sequence[Row], left: float, right: float, between: float) -> tuple[Figure, list[list[Axes]]]:
    """Rows of axes at fixed places, as ``style.stack_axes`` but with several axes a row.

    Args:
        rows: Height in inches, space below in inches, and number of axes of each row.
        left: Left margin in inches.
        right: Right margin in inches.
        between: Space between the axes of a row in inches.
    """
    total = TOP + sum(height + gap for height, gap, _ in rows)
    figure = Figure(figsize=(WIDTH, total))
    grid, y = [], total - TOP
    for height, gap, columns in rows:
        y -= height
        width = (WIDTH - left - right - between * (columns - 1)) / columns
        places = [left + column * (width + between) for column in range(columns)]
        grid.append([figure.add_axes((x / WIDTH, y / total, width / WIDTH, height / total)) for x in places])
        y -= gap
    return figure, grid
