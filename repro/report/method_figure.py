"""Every method in one figure: a panel a scale and data set, a block a group, FP32 and the paper's method as lines."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro.analysis import Evidence
from repro.report.cells import BEST, LAST, OURS, Cell, cell_frame, our_cell
from repro.report.forest import LEFT, RIGHT, draw_dots, legend_handles, runs_label
from repro.report.labels import data_label
from repro.report.methods import METHOD_GROUPS, Methods, group_methods, is_quantized
from repro.report.panels import nothing_run
from repro.report.style import INK, WIDTH, figure_style, plain, stack_axes
from repro.report.tables import RULES, row_titles, taking_part

REFERENCE = "reference"
COLUMNS = ("panel", "block", "scale", "row", "column", "source", "status", "value", "low", "high", "n", "data", "seeds",
           "epochs", "experiment", "measure")  # fmt: skip
# Reference lines are at the last epoch: PTQ has no other, and nothing is chosen there on the test set.
LINES: Mapping[bool, tuple[str, Any]] = {False: ("FP32, same training", "-"), True: ("4-bit, the paper's method", "--")}
ROW, BLOCK_GAP, PANEL_GAP, LEGEND = 0.34, 0.5, 1.05, 1.2  # inches
EDGE = 0.02  # of an axis, between a line and its end
TITLE_X = (0.1 - LEFT) / (WIDTH - LEFT - RIGHT)  # from the figure's edge


def method_points(evidence: Evidence) -> pd.DataFrame:
    """Accuracies of every method and of the references, one row a mark; per cent.

    Returns:
        Columns ``COLUMNS``; ``block`` is the group's title, or ``reference``. Only groups with a record at the scale
        and on the data set of a panel stand in it.
    """
    groups = {group: group_methods(evidence.config, group) for group in METHOD_GROUPS}
    found = group_methods(evidence.config, *METHOD_GROUPS)
    own = [member.name for member in found.members if member.name not in found.references]
    parts = []
    for scale in evidence.scales_with(own):
        cells = pd.concat([_block(evidence, scale, group, methods) for group, methods in groups.items()])
        for data in dict.fromkeys(cells["data"].dropna()):
            present = set(cells.loc[(cells["data"] == data) & (cells["block"] != REFERENCE), "block"])
            if present:
                part = cells[cells["block"].isin(present | {REFERENCE}) & cells["data"].isin([data])]
                title = f"Scale {scale} · {data_label(str(data))} · {runs_label(part)}"
                parts.append(part.drop_duplicates(["block", "row", "column"]).assign(panel=title))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)] if parts else nothing_run(COLUMNS)


def _block(evidence: Evidence, scale: str, group: str, methods: Methods) -> pd.DataFrame:
    titles, cells = row_titles(methods.members), []
    blocks = []
    for member in taking_part(methods.members, scale):
        reference = member.name in methods.references
        row = LINES[is_quantized(member.settings)][0] if reference else titles[member.name]
        for rule in (BEST, LAST):
            cell: Cell = our_cell(evidence, scale, member.name, rule, "%")
            cells.append({"scale": scale, "row": row, "column": RULES[rule], **cell})
            blocks.append(REFERENCE if reference else METHOD_GROUPS[group][0])
    return cell_frame(cells).assign(block=blocks)


def draw_methods(frame: pd.DataFrame) -> Figure:
    """A panel's blocks below each other, each with an accuracy axis of its own: PTQ can lose most of its accuracy."""
    panels = {str(title): _blocks(whole) for title, whole in frame.groupby("panel", sort=False)}
    heights, gaps = [], []
    for blocks in panels.values():
        heights += [0.0, *(ROW * block["row"].nunique() for block in blocks.values())]
        gaps += [BLOCK_GAP] * len(blocks) + [PANEL_GAP]
    with figure_style():
        figure, axes = stack_axes(heights, [*gaps[:-1], LEGEND], left=LEFT, right=RIGHT)
        places = iter(axes)
        for panel, blocks in panels.items():
            heading = next(places)
            heading.set_axis_off()
            heading.set_title(plain(panel), x=TITLE_X, weight="bold")
            for name, block in blocks.items():
                ax = next(places)
                draw_dots(ax, block)
                _draw_lines(ax, frame[(frame["panel"] == panel) & (frame["block"] == REFERENCE)])
                ax.set_title(plain(name), x=TITLE_X)
                if name != list(blocks)[-1]:
                    ax.set_xlabel("")
        figure.legend(handles=[*legend_handles(frame), *_line_handles(frame)], loc="lower center", ncols=2)
    return figure


def _blocks(panel: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The cells of each group of a panel; none where nothing was run."""
    return {str(name): block for name, block in panel.groupby("block", sort=False) if name != REFERENCE}


def _draw_lines(ax: Axes, references: pd.DataFrame) -> None:
    last = references[references["column"] == RULES[LAST]].set_index("row")["value"].dropna().astype(float)
    low, high = ax.get_xlim()
    for name, style in LINES.values():
        if name in last:
            ax.axvline(last[name], color=INK, linewidth=1, linestyle=style, alpha=0.6, zorder=0)
            low, high = min(low, last[name] - EDGE * (high - low)), max(high, last[name] + EDGE * (high - low))
    ax.set_xlim(low, high)


def _line_handles(frame: pd.DataFrame) -> list[Line2D]:
    drawn = set(frame.loc[(frame["source"] == OURS) & (frame["block"] == REFERENCE), "row"])
    return [
        Line2D([], [], color=INK, linewidth=1, linestyle=style, alpha=0.6, label=f"{name}, last epoch")
        for name, style in LINES.values()
        if name in drawn
    ]
