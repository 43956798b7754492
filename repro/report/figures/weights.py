"""What happens to the weights: levels in use, soft clipping (figure 2), and its shrink over the epochs."""

import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from repro.paper import authors_log, read_logs
from repro.report.figures.plot import (
    HEAD,
    INK,
    LOG_COLOR,
    OURS_COLOR,
    SHEET,
    SOFT,
    THEIRS_COLOR,
    Drawing,
    Plot,
    canvas,
    log_axis,
    nothing,
    plain,
    whole_ticks,
)
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
        long = authors_log(dataset).melt("epoch", list(LOG_ROWS), "layer", "levels")
        panel = f"authors' log, {data_label(dataset)}"
        parts.append(long.assign(panel=panel, scale="", layer=long["layer"].map(LOG_ROWS)))
    for log in read_logs().values():
        rows = view.frame("layers", log["experiment"]).dropna(subset=["levels"])
        if len(rows):
            runs = view.runs(log["experiment"])
            levels = rows.groupby(["layer", "epoch"], sort=False, as_index=False)["levels"].mean()
            panel = f"measured, {', '.join(map(data_label, dict.fromkeys(runs['data'])))}, {seeds_label(runs.index)}"
            parts.append(levels.assign(panel=panel, scale=view.scale))
    return pd.concat(parts, ignore_index=True)[["panel", "scale", "layer", "epoch", "levels"]]


def _draw_levels(view: View) -> Drawing:
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
    ax.set_yticks(range(len(names)), [plain(name) for name in names])
    ax.tick_params(axis="y", labelsize=6.2)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlim=(0.5, panel["epoch"].max() + 0.5))
    whole_ticks(ax)
    ax.grid(False)


LEVELS = Plot(
    "levels",
    "Do all layers keep all 15 levels?",
    "Distinct integer codes at the end of each epoch, the mean over seeds; the authors' log gives no single layer.",
    "Heat map of levels in use, one row a layer, one column an epoch; lighter is more.",
    _draw_levels,
    lambda view: [log["experiment"] for log in read_logs().values()],
    alone=True,
)

BOUND = 3.0  # equation 9
CENTRAL = (0.001, 0.999)  # share of a layer's weights inside the thick bar
CLIPPED = ("main_cifar10", "ablation_full", "main_cifar100")  # all with the soft clip
SHRINKS = {"shrink_max_steps": ("most moved weight", "o", OURS_COLOR),
           "shrink_mean_steps": ("mean of the layer", "s", LOG_COLOR)}  # fmt: skip
FUNCTIONS: dict[str, tuple[str, Any]] = {
    "hard clip at ±3": (THEIRS_COLOR, "--"),
    "tanh soft clip": (OURS_COLOR, "-"),
    "no clip": (LOG_COLOR, ":"),
}


def clip_effects(view: View) -> pd.DataFrame:
    """The functions, and the weights at the end and the shrink of each layer.

    Returns:
        ``scale``, ``kind``, ``series``, ``x``, ``y``, ``low``, ``high``. ``kind`` is ``function`` (``x`` a weight,
        ``y`` what it becomes), ``weights`` (``y`` the largest magnitude over seeds; ``low`` and ``high`` hold the
        central 99.8 % of the first seed's weights), or a key of ``SHRINKS`` (``y`` the median over epochs and seeds,
        ``low`` and ``high`` the least and the most; in levels an epoch).
    """
    x = np.linspace(-2 * BOUND, 2 * BOUND, 121)
    curves = dict(zip(FUNCTIONS, (np.clip(x, -BOUND, BOUND), BOUND * np.tanh(x / BOUND), x), strict=True))
    parts = [pd.DataFrame({"x": x, "y": y}).assign(kind="function", series=name) for name, y in curves.items()]
    experiment = view.first(CLIPPED) or ""
    rows = [*_weights(view.frame("weights", experiment)), *_shrinks(view.frame("layers", experiment))]
    parts += [pd.DataFrame(rows)] if rows else []
    frame: pd.DataFrame = pd.concat(parts, ignore_index=True).assign(scale=view.scale)
    return frame.reindex(columns=["scale", "kind", "series", "x", "y", "low", "high"])


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


def _draw_clip(view: View) -> Drawing:
    """The functions beside the weights, and the shrink below."""
    frame = clip_effects(view)
    layers = list(dict.fromkeys(frame.loc[frame["kind"] != "function", "series"]))
    handles = [Line2D([], [], color=color, linestyle=style, label=name) for name, (color, style) in FUNCTIONS.items()]
    handles += [Line2D([], [], linestyle="none", marker=marker, color=color, markersize=4, label=label)
                for label, marker, color in SHRINKS.values()]  # fmt: skip
    figure, grid = canvas([(1.5, 0.5, 1), (1.25, 0.42, 2)], left=0.62, between=0.25, legend=handles, columns=3)
    [functions], [left, right] = grid
    for name, curve in frame[frame["kind"] == "function"].groupby("series", sort=False):
        color, style = FUNCTIONS[str(name)]
        functions.plot(curve["x"], curve["y"], color=color, linestyle=style)
    functions.set(xlabel="weight after the optimiser's step", ylabel="after the clip", ylim=(-4.05, 4.05))
    _bounds(functions)
    _draw_weights(left, frame[frame["kind"] == "weights"].set_index("series"), layers)
    _draw_shrinks(right, frame, layers)
    return Drawing(figure, frame)


def _draw_weights(ax: Axes, weights: pd.DataFrame, layers: list[str]) -> None:
    """Thin: to the largest magnitude; thick: the central 99.8 %."""
    if weights.empty:
        return nothing(ax, "no histogram recorded")
    for place, name in enumerate(layers):
        if name in weights.index:
            row = weights.loc[name]
            ax.plot([-row["y"], row["y"]], [place, place], color=OURS_COLOR, linewidth=0.9)
            ends = [row["low"], row["high"]]
            ax.plot(ends, [place, place], color=OURS_COLOR, linewidth=3.5, solid_capstyle="butt")
    _bounds(ax)
    _layers_axis(ax, layers)
    ax.set(xlabel="weights at the end", xlim=(-1.1 * BOUND, 1.1 * BOUND))
    return None


def _draw_shrinks(ax: Axes, frame: pd.DataFrame, layers: list[str]) -> None:
    rows = frame[frame["kind"].isin(SHRINKS) & (frame["low"] > 0)]  # a log axis has no place for none
    if rows.empty:
        return nothing(ax, "no shrink recorded")
    for kind, (_, marker, color) in SHRINKS.items():
        own = rows[rows["kind"] == kind]
        y = [layers.index(name) for name in own["series"]]
        ax.hlines(y, own["low"].astype(float), own["high"].astype(float), color=color, linewidth=1)
        ax.plot(own["y"].astype(float), y, marker, color=color, markersize=3.6)
    ax.axvline(0.5, color=INK, linestyle=":", linewidth=0.9)
    _layers_axis(ax, layers)
    ax.set_yticklabels([])
    ax.set(xscale="log", xlabel="shrink, levels an epoch")
    log_axis(ax.xaxis)
    return None


def _bounds(ax: Axes) -> None:
    for bound in (-BOUND, BOUND):
        ax.axvline(bound, color=INK, linestyle=":", linewidth=0.9)


def _layers_axis(ax: Axes, layers: list[str]) -> None:
    ax.set_yticks(range(len(layers)), [plain(name) for name in layers])
    ax.tick_params(axis="y", labelsize=6.4)
    ax.set_ylim(len(layers) - 0.5, -0.5)


SOFT_CLIP = Plot(
    "figure2",
    "Figure 2: what does soft clipping do to the weights?",
    "Dotted: the bound ±3, and half a level. Weights: thin to the largest magnitude, thick the central 99.8 %. "
    "Shrink: median over epochs and seeds, least to most.",
    "Line chart of tanh and hard clip; below, the range of each layer's weights beside the bound, and its shrink.",
    _draw_clip,
    lambda view: CLIPPED,
    alone=True,
)

ARMS = {"with": ("ablation_full", "main_cifar10"), "without": ("ablation_no_weight_clip",)}
DASHES = ("-", "--")


def shrink_curves(view: View) -> pd.DataFrame:
    """Largest weight, scale and shrink of each layer over the epochs, means over seeds.

    Returns:
        ``scale``, ``arm``, ``experiment``, ``layer``, ``epoch``, ``max_abs_weight``, ``level_scale`` (a level's width),
        ``shrink_max_steps`` (levels an epoch), ``learning_rate``. ``ablation_full`` and ``main_cifar10`` are the same
        training of different length: the first that was run stands for "with".
    """
    names = ["max_abs_weight", "level_scale", "shrink_max_steps"]
    columns = ["scale", "arm", "experiment", "layer", "epoch", *names, "learning_rate"]
    parts = []
    for arm, experiments in ARMS.items():
        if experiment := view.first(experiments):
            layers, epochs = view.frame("layers", experiment), view.frame("epochs", experiment)
            means = layers.groupby(["layer", "epoch"], sort=False, as_index=False)[names].mean()
            rates = epochs.groupby("epoch", as_index=False)["learning_rate"].mean()
            parts.append(means.merge(rates, on="epoch", how="left").assign(arm=arm, experiment=experiment))
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    return frame.assign(scale=view.scale)[columns]


def _draw_shrink(view: View) -> Drawing:
    """Largest weights with and without, then the shrink an epoch and the learning rate."""
    frame = shrink_curves(view)
    layers = list(dict.fromkeys(frame["layer"]))
    ramp = mpl.colormaps["viridis"](np.linspace(0.3, 0.85, max(len(layers), 1)))
    looks = {name: {"color": ramp[place], "linestyle": DASHES[place % 2]} for place, name in enumerate(layers)}
    handles = [Line2D([], [], label=plain(name), **look) for name, look in looks.items()]
    figure, [top, bottom] = canvas([(1.35, 0.46, 2), (0.95, 0.42, 2)], between=0.62, legend=handles, columns=4)
    for ax, arm in zip(top, ARMS, strict=True):
        rows = frame[frame["arm"] == arm]
        _lines(ax, rows, "max_abs_weight", looks, f"{arm} soft clip: not run")
        if len(rows):
            ax.set(xlabel=f"epoch, {arm} soft clip", ylabel="largest |W|" if ax is top[0] else "")
    _share_limits(top, frame["max_abs_weight"].astype(float))
    clipped = frame[(frame["arm"] == "with") & (frame["shrink_max_steps"] > 0)]
    _lines(bottom[0], clipped, "shrink_max_steps", looks, "no shrink recorded")
    if len(clipped):
        bottom[0].set(xlabel="epoch, with soft clip", ylabel="levels an epoch")
    rates = frame[frame["arm"] == "with"].drop_duplicates("epoch")
    bottom[1].plot(rates["epoch"], rates["learning_rate"], color=INK, linewidth=1.1)
    bottom[1].set(xlabel="epoch", ylabel="learning rate")
    whole_ticks(bottom[1])
    return Drawing(figure, frame)


def _lines(ax: Axes, rows: pd.DataFrame, measure: str, looks: dict[str, dict[str, Any]], absent: str) -> None:
    known = rows[rows[measure].astype(float) > 0]
    if known.empty:
        return nothing(ax, absent)
    for name, look in looks.items():
        line = known[known["layer"] == name].sort_values("epoch")
        ax.plot(line["epoch"], line[measure], linewidth=1.1, **look)
    ax.set_yscale("log")
    log_axis(ax.yaxis)
    whole_ticks(ax)
    return None


def _share_limits(axes: list[Axes], largest: pd.Series) -> None:
    finite = largest[(largest > 0) & (largest < math.inf)]  # a diverged run has neither
    for ax in axes:
        if len(finite) and ax.axison:
            ax.set_ylim(0.8 * finite.min(), 1.25 * finite.max())


SHRINK = Plot(
    "shrink",
    "Does the soft clip shrink weights at any learning rate?",
    "Each step takes a 27th of its cube off a weight. Top: largest weight of each layer; below: how far the clip moved "
    "the most moved weight in each epoch, and the rate.",
    "Line charts over epochs: largest weight of each layer with and without soft clip, its shrink, the learning rate.",
    _draw_shrink,
    lambda view: [name for names in ARMS.values() for name in names],
)
