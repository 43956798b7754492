"""Levels in use per layer over the epochs of the main runs, as a heat map."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from repro.analysis import Evidence
from repro.paper import authors_log, read_logs
from repro.report.labels import data_label
from repro.report.panels import rows_of, run_panel
from repro.report.style import figure_style, plain, stack_axes

COLUMNS = ("panel", "scale", "data", "layer", "epoch", "levels")
LOG_ROWS = {"levels_max": "most of any layer", "levels_mean": "mean of the layers", "levels_min": "fewest of any layer"}
MOST_LEVELS = 15  # of 4 bits; the lower end of the colours follows the data
STEPS = 6


def level_map(evidence: Evidence) -> pd.DataFrame:
    """Levels in use, one row a layer and epoch.

    Returns:
        Columns ``COLUMNS``; ``levels`` is the mean over seeds. The authors' logs, which give no single layer, stand
        in panels of their own with the fewest, the mean and the most of any layer.
    """
    parts = [_log_map(dataset) for dataset in read_logs()]
    experiments = [log["experiment"] for log in read_logs().values()]
    for scale in evidence.scales_with(experiments):
        for experiment in experiments:
            runs = evidence.select(scale, experiment)
            rows = rows_of(evidence.layers, scale, experiment).dropna(subset=["levels"])
            if rows.empty:
                continue
            levels = rows.groupby(["layer", "epoch"], sort=False, as_index=False)["levels"].mean()
            data = " ".join(dict.fromkeys(runs["data"]))
            parts.append(levels.assign(panel=run_panel(scale, runs), scale=scale, data=data)[list(COLUMNS)])
    return pd.concat(parts, ignore_index=True)


def _log_map(dataset: str) -> pd.DataFrame:
    long = authors_log(dataset).melt("epoch", list(LOG_ROWS), "layer", "levels")
    panel = f"Authors' log · {data_label(dataset)} · one run, no seed set · 150 epochs"
    return long.assign(panel=panel, scale="", data=dataset, layer=long["layer"].map(LOG_ROWS))[list(COLUMNS)]


def draw_level_map(frame: pd.DataFrame) -> Figure:
    """A panel a run and log; the same colours in all of them."""
    panels = list(frame.groupby("panel", sort=False))
    low = int(np.floor(frame["levels"].min()))
    norm = Normalize(min(low, MOST_LEVELS - 1), max(MOST_LEVELS, frame["levels"].max()))
    heights = [0.21 * panel["layer"].nunique() + 0.1 for _, panel in panels]
    with figure_style():
        figure, axes = stack_axes(heights, [0.72] * (len(panels) - 1) + [1.05], left=1.45, right=0.2)
        for ax, (title, panel) in zip(axes, panels, strict=True):
            _draw_layers(ax, panel, norm)
            ax.set_title(plain(str(title)), x=-1.3 / (8.8 - 1.65))
        axes[-1].set_xlabel("epoch")
        figure.legend(handles=_legend(norm), loc="lower center", ncols=STEPS + 2, title="levels in use")
    return figure


def _draw_layers(ax: Axes, panel: pd.DataFrame, norm: Normalize) -> None:
    """One bar of coloured spans a layer; equal neighbours are one span, so that the file stays small."""
    colors = mpl.colormaps["cividis"]
    names = list(dict.fromkeys(panel["layer"]))
    for place, name in enumerate(names):
        row = panel[panel["layer"] == name].sort_values("epoch")
        levels, epochs = row["levels"].to_numpy(float), row["epoch"].to_numpy(float)
        starts = np.flatnonzero(np.diff(levels, prepend=np.nan) != 0)
        ends = np.append(starts[1:], len(levels)) - 1
        spans = [(epochs[a] - 0.5, epochs[b] - epochs[a] + 1) for a, b in zip(starts, ends, strict=True)]
        style: dict[str, Any] = {"facecolors": [colors(norm(levels[a])) for a in starts], "linewidth": 0}
        ax.broken_barh(spans, (place - 0.46, 0.92), **style)
    ax.set_yticks(range(len(names)), [plain(name) for name in names])
    ax.set(ylim=(len(names) - 0.5, -0.5), xlim=(0.5, panel["epoch"].max() + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(False)


def _legend(norm: Normalize) -> list[Patch]:
    colors = mpl.colormaps["cividis"]
    low, high = float(norm.vmin or 0), float(norm.vmax or MOST_LEVELS)
    whole = np.arange(low, high + 1) if high - low <= STEPS else np.unique(np.linspace(low, high, STEPS).round())
    return [Patch(color=colors(norm(level)), label=f"{level:.0f}") for level in whole]
