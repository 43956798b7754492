"""Figure 2: the clipping functions, and what soft clipping really does to the weights of a run."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from repro.analysis import Evidence
from repro.report.panels import first_with_runs, grid_axes, rows_of, run_panel
from repro.report.style import COLORS, INK, THEIR_COLOR, figure_style, plain

BOUND = 3.0  # equation 9
FUNCTIONS = "The functions of figure 2"
CENTRAL = (0.001, 0.999)  # share of a layer's weights inside the thick bar
EXPERIMENTS = ("main_cifar10", "ablation_full", "main_cifar100")  # all with the soft clip
COLUMNS = ("panel", "scale", "kind", "series", "x", "y", "low", "high")
SHRINKS = {"shrink_max_steps": ("largest shrink of a weight", "o", COLORS[0]),
           "shrink_mean_steps": ("mean shrink of the layer", "s", COLORS[1])}  # fmt: skip


def clip_effects(evidence: Evidence) -> pd.DataFrame:
    """The functions, and for each scale the weights at the end and the shrink of each layer.

    Returns:
        Columns ``COLUMNS``. ``kind`` is ``function`` (``x`` a weight, ``y`` what it becomes), ``weights`` (``y`` the
        largest magnitude over seeds; ``low`` and ``high`` hold the central 99.8 % of the first seed's weights), or a
        key of ``SHRINKS`` (``y`` the median over epochs and seeds, ``low`` and ``high`` the least and the most; in
        levels an epoch).
    """
    x = np.linspace(-2 * BOUND, 2 * BOUND, 121)
    curves = {"hard clip at ±3": np.clip(x, -BOUND, BOUND), "tanh soft clip": BOUND * np.tanh(x / BOUND), "no clip": x}
    parts = [pd.DataFrame({"x": x, "y": y}).assign(kind="function", series=name) for name, y in curves.items()]
    parts = [part.assign(panel=FUNCTIONS, scale="") for part in parts]
    for scale in evidence.scales_with(EXPERIMENTS):
        experiment = first_with_runs(evidence, scale, EXPERIMENTS)
        if experiment is None:
            continue
        panel = run_panel(scale, evidence.select(scale, experiment))
        rows = [*_weights(rows_of(evidence.weights, scale, experiment)),
                *_shrinks(rows_of(evidence.layers, scale, experiment))]  # fmt: skip
        parts.append(pd.DataFrame(rows, columns=COLUMNS).assign(panel=panel, scale=scale))
    frame: pd.DataFrame = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return frame.reindex(columns=list(COLUMNS))


def _weights(weights: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for layer, seeds in weights.groupby("layer", sort=False):
        first = seeds.iloc[0]
        counts, edges = np.asarray(first["counts"], float), np.asarray(first["edges"], float)
        shares = np.concatenate([[0.0], counts.cumsum()]) / counts.sum()
        low, high = np.interp(CENTRAL, shares, edges)
        rows.append({"kind": "weights", "series": layer, "y": seeds["max_abs_weight"].max(), "low": low, "high": high})
    return rows


def _shrinks(layers: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for layer, values in layers.groupby("layer", sort=False):
        for name in SHRINKS:
            figures = values.loc[values[name] < np.inf, name]  # neither NaN nor infinite, as after divergence
            if len(figures):
                least, median, most = figures.min(), figures.median(), figures.max()
                rows.append({"kind": name, "series": layer, "y": median, "low": least, "high": most})
    return rows


def draw_clip_effects(frame: pd.DataFrame) -> Figure:
    """The functions above, then for each scale the weights beside the bound and the shrink."""
    panels = list(frame.groupby("panel", sort=False))
    rows = [(2.3, 0.85, 1)] + [(2.0, 0.95, 2)] * (len(panels) - 1)
    with figure_style():
        figure, grid = grid_axes(rows, left=0.75, right=0.25, between=0.85)
        _draw_functions(grid[0][0], panels[0][1])
        for (title, panel), (left, right) in zip(panels[1:], grid[1:], strict=True):
            layers = list(dict.fromkeys(panel["series"]))
            _draw_weights(left, panel[panel["kind"] == "weights"].set_index("series"), layers)
            _draw_shrinks(right, panel, layers)
            left.set_title(plain(str(title)))
        if len(grid) > 1:
            figure.legend(*grid[-1][1].get_legend_handles_labels(), loc="lower center", ncols=2)
    return figure


def _draw_functions(ax: Axes, panel: pd.DataFrame) -> None:
    looks = {"hard clip at ±3": (COLORS[3], "--"), "tanh soft clip": (COLORS[0], "-"), "no clip": (THEIR_COLOR, ":")}
    for name, curve in panel.groupby("series", sort=False):
        color, style = looks[str(name)]
        ax.plot(curve["x"], curve["y"], color=color, linestyle=style, linewidth=1.8, label=str(name))
    _bounds(ax)
    ax.set(xlabel="weight after the optimiser's step", ylabel="weight after the clip", title=FUNCTIONS)
    ax.set(ylim=(-1.35 * BOUND, 1.35 * BOUND))
    ax.legend(loc="upper left")


def _draw_weights(ax: Axes, weights: pd.DataFrame, layers: list[str]) -> None:
    """Thin: to the largest magnitude; thick: the central 99.8 %."""
    known = [(place, name) for place, name in enumerate(layers) if name in weights.index]
    for place, name in known:
        row = weights.loc[name]
        ax.plot([-row["y"], row["y"]], [place, place], color=COLORS[0], linewidth=1.2)
        ax.plot([row["low"], row["high"]], [place, place], color=COLORS[0], linewidth=5, solid_capstyle="butt")
    if not known:
        ax.text(0.5, 0.5, "no histograms in the records", transform=ax.transAxes, ha="center", style="italic")
    _bounds(ax)
    _layers_axis(ax, layers)
    ax.set(xlabel="weights at the end (dotted: the bound ±3)", xlim=(-1.1 * BOUND, 1.1 * BOUND))


def _draw_shrinks(ax: Axes, panel: pd.DataFrame, layers: list[str]) -> None:
    for shift, (kind, (label, marker, color)) in zip((-0.15, 0.15), SHRINKS.items(), strict=True):
        rows = panel[(panel["kind"] == kind) & (panel["low"] > 0)]  # a log axis has no place for none
        y = [layers.index(name) + shift for name in rows["series"]]
        ax.hlines(y, rows["low"].astype(float), rows["high"].astype(float), color=color, linewidth=1.2)
        ax.plot(rows["y"].astype(float), y, marker, color=color, markersize=5, label=label)
    ax.axvline(0.5, color=INK, linestyle=":", linewidth=1.1)
    _layers_axis(ax, layers)
    ax.set(xscale="log", xlabel="shrink in levels an epoch (dotted: half a level)")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())  # slow to draw


def _bounds(ax: Axes) -> None:
    for bound in (-BOUND, BOUND):
        ax.axvline(bound, color=INK, linestyle=":", linewidth=1.1)


def _layers_axis(ax: Axes, layers: list[str]) -> None:
    ax.set_yticks(range(len(layers)), [plain(name) for name in layers])
    ax.set_ylim(len(layers) - 0.5, -0.5)
