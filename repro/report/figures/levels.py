"""Levels in use, layer by layer and epoch by epoch, beside what the authors' logs say of them."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Patch

from repro.paper import authors_log, read_logs
from repro.report.figures.plot import HEAD, Drawing, Plot, canvas, layers_axis, plain, whole_ticks
from repro.report.figures.style import SHEET, SOFT
from repro.report.view import View
from repro.report.vocabulary import data_label, seeds_label

LOG_ROWS = {"levels_max": "most of any layer", "levels_mean": "mean of the layers", "levels_min": "fewest of any layer"}
MOST_LEVELS, STEPS = 15, 6  # of 4 bits, the upper end of the colours; entries of their legend
LEVEL_COLORS = mpl.colormaps["cividis"]


def level_map(view: View) -> pd.DataFrame:
    """Levels in use, one row a panel, layer and epoch, the mean over seeds.

    The authors' logs, which give no single layer, stand in panels of their own with the fewest, the mean and the most.
    """
    parts = []
    for dataset in read_logs():
        long = authors_log(dataset).rename(columns=LOG_ROWS).melt("epoch", list(LOG_ROWS.values()), "layer", "levels")
        parts.append(long.assign(panel=f"authors' log, {data_label(dataset)}", scale=""))
    for log in read_logs().values():
        rows = view.frame("layers", log["experiment"]).dropna(subset=["levels"])
        if len(rows):
            runs = view.runs(log["experiment"])
            levels = rows.groupby(["layer", "epoch"], sort=False, as_index=False)["levels"].mean()
            panel = f"measured, {', '.join(map(data_label, dict.fromkeys(runs['data'])))}, {seeds_label(runs.index)}"
            parts.append(levels.assign(panel=panel, scale=view.scale))
    return pd.concat(parts, ignore_index=True)[["panel", "scale", "layer", "epoch", "levels"]]


def _draw(view: View) -> Drawing:
    """A panel a run and log; the same colours in all of them."""
    frame = level_map(view)
    panels = list(frame.groupby("panel", sort=False))
    low = int(np.floor(frame["levels"].min()))
    norm = Normalize(min(low, MOST_LEVELS - 1) - 1, max(MOST_LEVELS, frame["levels"].max()))
    heights = [(0.125 * panel["layer"].nunique() + 0.05, 0.36, 1) for _, panel in panels]
    heights[-1] = (heights[-1][0], 0.46, 1)
    steps = np.unique(np.linspace(float(norm.vmin or 0) + 1, float(norm.vmax or 1), STEPS).round())
    handles = [Patch(color=LEVEL_COLORS(norm(level)), label=f"{level:.0f}") for level in steps]
    figure, grid = canvas(heights, left=1.1, legend=handles, columns=STEPS, head=HEAD + 0.14)
    for [ax], (title, panel) in zip(grid, panels, strict=True):
        _draw_layers(ax, panel, norm)
        ax.set_title(plain(str(title)), pad=2, color=SOFT)
    grid[-1][0].set_xlabel("epoch (colour: levels in use)", labelpad=1)
    return Drawing(figure, frame)


def _draw_layers(ax: Axes, panel: pd.DataFrame, norm: Normalize) -> None:
    """A picture of a pixel a layer and epoch: spans as paths would be most of the page."""
    names = list(dict.fromkeys(panel["layer"]))
    table = panel.pivot(index="layer", columns="epoch", values="levels").loc[names]
    first, last = float(panel["epoch"].min()) - 0.5, float(panel["epoch"].max()) + 0.5
    ax.imshow(table, cmap=LEVEL_COLORS, norm=norm, aspect="auto", interpolation="none",
              extent=(first, last, len(names) - 0.5, -0.5))  # fmt: skip
    ax.hlines(np.arange(1, len(names)) - 0.5, first, last, color=SHEET, linewidth=1.1)
    layers_axis(ax, names, 6.2)
    ax.set_xlim(0.5, last)
    whole_ticks(ax)
    ax.grid(False)


LEVELS = Plot(
    "levels",
    "Do all layers keep all 15 levels?",
    "Distinct integer codes at the end of each epoch, the mean over seeds; the authors' log gives no single layer.",
    "Heat map of levels in use, one row a layer, one column an epoch; lighter is more.",
    _draw,
    lambda view: [log["experiment"] for log in read_logs().values()],
    alone=True,
)
