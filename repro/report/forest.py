"""Table VII as a figure: one line an ablation, our accuracy beside the paper's."""

import textwrap
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro.analysis import Evidence
from repro.paper import read_table
from repro.records import DIVERGED
from repro.report.cells import BEST, LAST, OURS, PAPER
from repro.report.labels import data_label, seeds_label
from repro.report.style import COLORS, INK, WIDTH, figure_style, plain, stack_axes
from repro.report.tables import RULES, table7

PAPER_PANEL = "The paper's values alone · CIFAR-10, 100 epochs, one run each · not run here on this data"
LEFT, RIGHT = 2.75, 0.2  # inches
MARKS = {RULES[BEST]: ("best epoch, chosen on the test set", "o", COLORS[0]),
         RULES[LAST]: ("last epoch", "s", COLORS[1])}  # fmt: skip


def ablation_points(evidence: Evidence) -> pd.DataFrame:
    """The accuracies of table VII, one row a mark.

    Returns:
        Columns of the table's cells and ``panel``. The paper's values stand only beside runs on the
        paper's data; where there are none, in a panel of their own.
    """
    cells = table7(evidence)
    cells = cells[cells["column"].isin(["accuracy (%)", *MARKS])]
    paper_data, parts, shown = read_table("table7")["data"], [], False
    for scale, part in cells.groupby("scale", sort=False):
        ours = part[(part["source"] == OURS) & part["data"].notna()]
        if ours.empty:
            continue
        names = list(dict.fromkeys(ours["data"]))
        beside = names == [paper_data]
        shown |= beside
        panel = part if beside else part[part["source"] == OURS]
        parts.append(panel.assign(panel=f"Scale {scale} · {', '.join(map(data_label, names))} · {runs_label(ours)}"))
    if not shown:
        first = cells[cells["scale"] == cells["scale"].iloc[0]]
        parts.insert(0, first[first["source"] == PAPER].assign(panel=PAPER_PANEL, scale=""))
    return pd.concat(parts, ignore_index=True)


def runs_label(cells: pd.DataFrame) -> str:
    """Seeds, n and epochs of measured cells, such as ``seeds 0, 1 (n = 1 to 2) · 100 epochs``."""
    seeds = sorted({int(seed) for text in cells["seeds"] for seed in text.split()})
    counts = sorted({int(n) for n in cells["n"]})
    n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
    return f"{seeds_label(seeds)} ({n}) · {max(int(epochs) for epochs in cells['epochs'])} epochs"


def draw_ablation(frame: pd.DataFrame) -> Figure:
    """One panel a scale, one line an experiment."""
    panels = list(frame.groupby("panel", sort=False))
    heights = [0.42 * panel["row"].nunique() for _, panel in panels]
    gaps = [0.95] * (len(panels) - 1) + [1.1]
    with figure_style():
        figure, axes = stack_axes(heights, gaps, left=LEFT, right=RIGHT)
        for ax, (title, panel) in zip(axes, panels, strict=True):
            _draw_panel(ax, str(title), panel)
        figure.legend(handles=legend_handles(frame), loc="lower center", ncols=2)
    return figure


def _draw_panel(ax: Axes, title: str, panel: pd.DataFrame) -> None:
    draw_dots(ax, panel)
    ax.set_title(plain(title), x=(0.1 - LEFT) / (WIDTH - LEFT - RIGHT))  # from the figure's edge: titles are long


def draw_dots(ax: Axes, panel: pd.DataFrame) -> None:
    """One line a row: both selection rules with their intervals, the paper's value, and what was not run.

    Args:
        ax: Where to draw.
        panel: Cells of accuracies in per cent.
    """
    rows = list(dict.fromkeys(panel["row"]))
    places = {row: index for index, row in enumerate(rows)}
    for column, (_, marker, color) in MARKS.items():
        ours = panel[(panel["column"] == column) & panel["value"].notna()]
        shift = -0.12 if column == RULES[BEST] else 0.12  # the two rules often agree: neither may hide the other
        y = [places[row] + shift for row in ours["row"]]
        sns.scatterplot(x=ours["value"].astype(float), y=y, marker=marker, color=color, s=42, ax=ax, legend=False)
        reach = (ours["value"] - ours["low"]).astype(float)
        ax.errorbar(ours["value"].astype(float), y, xerr=reach, fmt="none", ecolor=color, elinewidth=1.2, capsize=2)
        _cross_out(ax, ours, y)
    if (panel["source"] == OURS).any():
        for row in set(rows) - set(panel.loc[panel["data"].notna(), "row"]):
            ax.text(0.01, places[row], "not run", transform=ax.get_yaxis_transform(), va="center", style="italic")
    paper = panel[(panel["source"] == PAPER) & panel["value"].notna()]
    y = [places[row] for row in paper["row"]]
    ax.plot(paper["value"].astype(float), y, "D", markerfacecolor="none", markeredgecolor=INK, markersize=6)
    ax.set_yticks(range(len(rows)), [plain(textwrap.fill(row, 37)) for row in rows])
    ax.set(xlabel="test accuracy (%)", ylabel="", ylim=(len(rows) - 0.5, -0.5))


def _cross_out(ax: Axes, ours: pd.DataFrame, y: list[float]) -> None:
    diverged = list(ours["status"] == DIVERGED)
    x = [value for value, hit in zip(ours["value"], diverged, strict=True) if hit]
    ax.plot(x, [place for place, hit in zip(y, diverged, strict=True) if hit], "x", color=INK, markersize=7)


def legend_handles(frame: pd.DataFrame) -> list[Line2D]:
    """The marks of ``draw_dots`` that a frame has."""
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=color, label=f"measured: {label}")
        for column, (label, marker, color) in MARKS.items()
        if (frame["column"] == column).any()
    ]
    hollow: dict[str, Any] = {"linestyle": "none", "marker": "D", "markerfacecolor": "none", "markeredgecolor": INK}
    if (frame["source"] == PAPER).any():
        handles.append(Line2D([], [], label="paper, as printed", **hollow))
    if (frame["status"] == DIVERGED).any():
        handles.append(Line2D([], [], linestyle="none", marker="x", color=INK, label="diverged"))
    return handles
