"""What soft clipping does to the weights (figure 2), and how far it shrinks them over the epochs."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from repro.report.figures.plot import Drawing, Plot, canvas, layers_axis, log_axis, nothing, plain, whole_ticks
from repro.report.figures.style import INK, LOG_COLOR, OURS_COLOR, THEIRS_COLOR
from repro.report.view import View

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
    parts += [pd.DataFrame(_extents(view.frame("weights", experiment))), _shrinks(view.frame("layers", experiment))]
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True).assign(scale=view.scale)
    return frame.reindex(columns=["scale", "kind", "series", "x", "y", "low", "high"])


def _extents(weights: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for layer, seeds in weights.groupby("layer", sort=False):
        counts, edges = seeds["counts"].iloc[0], seeds["edges"].iloc[0]
        low, high = np.interp(CENTRAL, np.cumsum([0.0, *counts]) / sum(counts), edges)
        yield {"kind": "weights", "series": layer, "y": seeds["max_abs_weight"].max(), "low": low, "high": high}


def _shrinks(layers: pd.DataFrame) -> pd.DataFrame:
    known = layers.set_index("layer")[list(SHRINKS)].astype(float)
    finite = known.where(known < math.inf).stack(future_stack=True)  # a diverged run has NaN and infinity
    found = finite.groupby(level=[0, 1], sort=False).agg(low="min", y="median", high="max")
    return found.dropna().rename_axis(["series", "kind"]).reset_index()


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
    _draw_weights(left, frame[frame["kind"] == "weights"], layers)
    _draw_shrinks(right, frame[frame["low"] > 0], layers)  # a log axis has no place for none
    return Drawing(figure, frame)


def _draw_weights(ax: Axes, weights: pd.DataFrame, layers: list[str]) -> None:
    """Thin: to the largest magnitude; thick: the central 99.8 %."""
    if weights.empty:
        return nothing(ax, "no histogram recorded")
    for row in weights.to_dict("records"):
        place = [layers.index(row["series"])] * 2
        ax.plot([-row["y"], row["y"]], place, color=OURS_COLOR, linewidth=0.9)
        ax.plot([row["low"], row["high"]], place, color=OURS_COLOR, linewidth=3.5, solid_capstyle="butt")
    _bounds(ax)
    layers_axis(ax, layers, 6.4)
    ax.set(xlabel="weights at the end", xlim=(-1.1 * BOUND, 1.1 * BOUND))
    return None


def _draw_shrinks(ax: Axes, frame: pd.DataFrame, layers: list[str]) -> None:
    if not frame["kind"].isin(SHRINKS).any():
        return nothing(ax, "no shrink recorded")
    for kind, (_, marker, color) in SHRINKS.items():
        own = frame[frame["kind"] == kind]
        y = [layers.index(name) for name in own["series"]]
        ax.hlines(y, own["low"], own["high"], color=color, linewidth=1)
        ax.plot(own["y"], y, marker, color=color, markersize=3.6)
    ax.axvline(0.5, color=INK, linestyle=":", linewidth=0.9)
    layers_axis(ax, layers, 6.4)
    ax.set_yticklabels([])
    ax.set(xscale="log", xlabel="shrink, levels an epoch")
    log_axis(ax.xaxis)
    return None


def _bounds(ax: Axes) -> None:
    for bound in (-BOUND, BOUND):
        ax.axvline(bound, color=INK, linestyle=":", linewidth=0.9)


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
    parts = [pd.DataFrame(columns=columns)]
    for arm, experiments in ARMS.items():
        if experiment := view.first(experiments):
            layers, epochs = view.frame("layers", experiment), view.frame("epochs", experiment)
            means = layers.groupby(["layer", "epoch"], sort=False, as_index=False)[names].mean()
            rates = epochs.groupby("epoch", as_index=False)["learning_rate"].mean()
            parts.append(means.merge(rates, on="epoch", how="left").assign(arm=arm, experiment=experiment))
    return pd.concat(parts[1:] or parts, ignore_index=True).assign(scale=view.scale)[columns]


def _draw_shrink(view: View) -> Drawing:
    """Largest weights with and without, then the shrink an epoch and the learning rate."""
    frame = shrink_curves(view)
    layers = list(dict.fromkeys(frame["layer"]))
    ramp = sns.husl_palette(max(len(layers), 1), l=0.58)  # of one lightness: 3:1 on a pale page and on a dark one
    looks = {name: {"color": ramp[place], "linestyle": DASHES[place % 2]} for place, name in enumerate(layers)}
    handles = [Line2D([], [], label=plain(name), **look) for name, look in looks.items()]
    figure, [top, bottom] = canvas([(1.35, 0.46, 2), (0.95, 0.42, 2)], between=0.62, legend=handles, columns=4)
    largest = frame["max_abs_weight"]
    largest = largest[(largest > 0) & (largest < math.inf)]  # a diverged run has neither
    for ax, arm in zip(top, ARMS, strict=True):
        rows = frame[frame["arm"] == arm]
        _lines(ax, rows, "max_abs_weight", looks, f"{arm} soft clip: not run")
        if len(rows):
            ax.set(xlabel=f"epoch, {arm} soft clip", ylabel="largest |W|" if ax is top[0] else "")
        if len(largest) and ax.axison:
            ax.set_ylim(0.8 * largest.min(), 1.25 * largest.max())
    clipped = frame[(frame["arm"] == "with") & (frame["shrink_max_steps"] > 0)]
    _lines(bottom[0], clipped, "shrink_max_steps", looks, "no shrink recorded")
    bottom[0].set(xlabel="epoch, with soft clip", ylabel="levels an epoch")
    rates = frame[frame["arm"] == "with"].drop_duplicates("epoch")
    bottom[1].plot(rates["epoch"], rates["learning_rate"], color=INK, linewidth=1.1)
    bottom[1].set(xlabel="epoch", ylabel="learning rate")
    whole_ticks(bottom[1])
    return Drawing(figure, frame)


def _lines(ax: Axes, rows: pd.DataFrame, measure: str, looks: dict[str, dict[str, Any]], absent: str) -> None:
    known = rows[rows[measure] > 0]
    if known.empty:
        return nothing(ax, absent)
    for name, look in looks.items():
        line = known[known["layer"] == name].sort_values("epoch")
        ax.plot(line["epoch"], line[measure], linewidth=1.1, **look)
    ax.set_yscale("log")
    log_axis(ax.yaxis)
    whole_ticks(ax)
    return None


SHRINK = Plot(
    "shrink",
    "Does the soft clip shrink weights at any learning rate?",
    "Each step takes a 27th of its cube off a weight. Top: largest weight of each layer; below: how far the clip moved "
    "the most moved weight in each epoch, and the rate.",
    "Line charts over epochs: largest weight of each layer with and without soft clip, its shrink, the learning rate.",
    _draw_shrink,
    lambda view: [name for names in ARMS.values() for name in names],
)
