"""The cubic shrink of soft clipping: largest weights over epochs with and without it, against the learning rate."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from repro.analysis import Evidence
from repro.report.panels import draw_nothing, first_with_runs, grid_axes, nothing_run, rows_of, run_panel
from repro.report.style import COLORS, INK, figure_style, plain

ARMS = {"with soft clip": ("ablation_full", "main_cifar10"), "without": ("ablation_no_weight_clip",)}
COLUMNS = ("panel", "scale", "arm", "experiment", "layer", "epoch", "max_abs_weight", "level_scale",
           "shrink_max_steps", "learning_rate")  # fmt: skip
Looks = dict[str, dict[str, Any]]
LINES = ("-", "--", ":")  # with eight colours: layers stay apart in grey too


def shrink_curves(evidence: Evidence) -> pd.DataFrame:
    """Largest weight, scale and shrink of each layer over the epochs, means over seeds.

    Returns:
        Columns ``COLUMNS``. ``max_abs_weight`` and ``level_scale`` (width of a level) in weight units,
        ``shrink_max_steps`` in levels an epoch. ``ablation_full`` and ``main_cifar10`` are the same training of
        different length: the first that was run stands for "with".
    """
    parts = []
    for scale in evidence.scales_with(name for names in ARMS.values() for name in names):
        chosen = {arm: first_with_runs(evidence, scale, names) for arm, names in ARMS.items()}
        known = {arm: name for arm, name in chosen.items() if name}
        if not known:
            continue
        panel = run_panel(scale, evidence.select(scale, next(iter(known.values()))))
        parts += [_arm(evidence, scale, arm, name).assign(panel=panel) for arm, name in known.items()]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)] if parts else nothing_run(COLUMNS)


def _arm(evidence: Evidence, scale: str, arm: str, experiment: str) -> pd.DataFrame:
    layers, epochs = (rows_of(frame, scale, experiment) for frame in (evidence.layers, evidence.epochs))
    names = ["max_abs_weight", "level_scale", "shrink_max_steps"]
    means = layers.groupby(["layer", "epoch"], sort=False, as_index=False)[names].mean()
    rates = epochs.groupby("epoch", as_index=False)["learning_rate"].mean()
    return means.merge(rates, on="epoch", how="left").assign(scale=scale, arm=arm, experiment=experiment)


def draw_shrink(frame: pd.DataFrame) -> Figure:
    """Two rows a scale: largest weights with and without, then the shrink an epoch and the learning rate."""
    panels = list(frame.groupby("panel", sort=False))
    rows = [row for _ in panels for row in ((1.9, 0.62, 2), (1.2, 0.85, 2))]
    with figure_style():
        figure, grid = grid_axes(rows, left=0.95, right=1.4, between=0.95)
        for index, (title, panel) in enumerate(panels):
            _draw_panel(grid[2 * index], grid[2 * index + 1], str(title), panel)
    return figure


def _draw_panel(top: list[Axes], bottom: list[Axes], title: str, panel: pd.DataFrame) -> None:
    if panel["arm"].isna().all():
        draw_nothing(top[0], title)
        for ax in (top[1], *bottom):
            ax.set_axis_off()
        return
    layers = list(dict.fromkeys(panel["layer"]))
    looks: Looks = {
        name: {"color": COLORS[i % len(COLORS)], "linestyle": LINES[i % len(LINES)]} for i, name in enumerate(layers)
    }
    largest = panel["max_abs_weight"].astype(float)
    finite = largest[(largest > 0) & (largest < math.inf)]  # a diverged run has neither
    for ax, arm in zip(top, ARMS, strict=True):
        rows = panel[panel["arm"] == arm]
        if rows.empty:
            draw_nothing(ax, f"{arm}: not run")
            continue
        _lines(ax, rows, "max_abs_weight", looks)
        ax.set(yscale="log", ylabel="largest |W| of a layer", xlabel=f"epoch, {arm}")
        if len(finite):
            ax.set_ylim(0.8 * finite.min(), 1.25 * finite.max())
        _plain_ticks(ax)
    top[0].set_title(plain(title))
    top[1].legend(
        handles=[Line2D([], [], label=plain(name), **look) for name, look in looks.items()],
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        title="layer",
    )
    _draw_cause(bottom, panel, looks)


def _draw_cause(bottom: list[Axes], panel: pd.DataFrame, looks: Looks) -> None:
    """The shrink of the largest weight in levels an epoch, and the learning rate that it does not follow."""
    clipped = panel[(panel["arm"] == next(iter(ARMS))) & (panel["shrink_max_steps"] > 0)]
    if clipped.empty:
        draw_nothing(bottom[0], "no shrink recorded")
    else:
        _lines(bottom[0], clipped, "shrink_max_steps", looks)
        bottom[0].set(yscale="log", ylabel="largest shrink\n(levels an epoch)", xlabel="epoch, with soft clip")
        _plain_ticks(bottom[0])
    for arm, style in zip(ARMS, ("-", "--"), strict=True):
        rates = panel[panel["arm"] == arm].drop_duplicates("epoch")
        bottom[1].plot(rates["epoch"], rates["learning_rate"], style, color=INK, linewidth=1.2, label=arm)
    bottom[1].set(ylabel="learning rate", xlabel="epoch")
    bottom[1].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))


def _lines(ax: Axes, rows: pd.DataFrame, measure: str, looks: Looks) -> None:
    for name, look in looks.items():
        line = rows[rows["layer"] == name].sort_values("epoch")
        ax.plot(line["epoch"], line[measure], linewidth=1.3, **look)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _plain_ticks(ax: Axes) -> None:
    """0.2 and 0.5 rather than powers of ten."""
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(NullLocator())  # slow to draw
