"""Accuracy against bit width, from runs whose settings differ in nothing else."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro.analysis import Evidence, estimate
from repro.paper import parse_printed, read_table
from repro.report.cells import BEST, LAST, PAPER
from repro.report.labels import data_label, epochs_label, seeds_label
from repro.report.panels import draw_nothing, nothing_run
from repro.report.style import COLORS, INK, figure_style, plain, stack_axes

# Shown even with a single bit width; any other recipe needs two.
MAIN = ("main_cifar10", "main_cifar100")
FP32, FP32_BITS = "none", 32.0
BINOMIAL: dict[str, Any] = {"fmt": "none", "elinewidth": 3, "alpha": 0.35}
INTERVAL: dict[str, Any] = {"markersize": 6, "elinewidth": 1.2, "capsize": 3}
MARKS = {BEST: ("best epoch, chosen on the test set", "o", COLORS[0]), LAST: ("last epoch", "s", COLORS[1])}
COLUMNS = ("panel", "scale", "data", "experiment", "quantizer", "bit_width", "measure", "accuracy", "low", "high",
           "standard_error", "n", "seeds")  # fmt: skip


def bit_width_points(evidence: Evidence) -> pd.DataFrame:
    """Test accuracy by bit width, one row a point; per cent.

    Returns:
        Columns ``COLUMNS``; ``bit_width`` is 32 for the run of the same recipe without a quantiser. Only runs of
        equal recipe (``Evidence.runs``) and quantiser stand in one panel.
    """
    rows = []
    for scale in dict.fromkeys(evidence.runs["scale"]):
        runs = evidence.runs[evidence.runs["scale"] == scale]
        runs = runs.drop_duplicates(["path"])  # a run that serves several experiments is one point
        for keys, family in runs[runs["quantizer"] != FP32].groupby(["recipe", "quantizer"], sort=False):
            if family["bit_width"].nunique() > 1 or family["experiment"].isin(MAIN).any():
                plain_runs = runs[(runs["recipe"] == keys[0]) & (runs["quantizer"] == FP32)]
                rows += _points(scale, pd.concat([family, plain_runs.assign(bit_width=FP32_BITS)]))
    return pd.DataFrame(rows, columns=COLUMNS) if rows else nothing_run(COLUMNS)


def _points(scale: str, runs: pd.DataFrame) -> list[dict[str, object]]:
    first = runs.iloc[0]
    panel = (
        f"Scale {scale} · {data_label(first['data'])} · {first['quantizer']} · "
        f"{seeds_label(sorted(runs['seed'].unique()))} · {epochs_label(int(first['epochs']))}"
    )
    rows = []
    for (bits, quantizer, experiment), group in runs.groupby(["bit_width", "quantizer", "experiment"], sort=True):
        for measure in MARKS:
            figure = estimate(group[measure] * 100, None)
            error = estimate(group[measure], float(group["test_images"].min())).standard_error * 100
            rows.append({
                "panel": panel, "scale": scale, "data": first["data"], "experiment": experiment, "bit_width": bits,
                "quantizer": quantizer, "measure": measure, "accuracy": figure.value, "low": figure.low,
                "high": figure.high, "standard_error": error, "n": figure.n,
                "seeds": " ".join(str(seed) for seed in sorted(group["seed"])),
            })  # fmt: skip
    return rows + _printed(panel, scale, runs)


def _printed(panel: str, scale: str, runs: pd.DataFrame) -> list[dict[str, object]]:
    """The paper's best accuracy, beside runs on its own data only."""
    best = read_table("table3")["rows"][0]["values"]
    main = runs[runs["experiment"].isin(MAIN)]
    data = main["data"].iloc[0] if len(main) else ""
    if data not in best:
        return []
    keys = {"panel": panel, "scale": scale, "data": data, "quantizer": main["quantizer"].iloc[0], "measure": PAPER}
    return [{**keys, "bit_width": main["bit_width"].iloc[0], "accuracy": parse_printed(best[data]).low}]


def draw_bit_widths(frame: pd.DataFrame) -> Figure:
    """A panel a recipe; FP32 of the same recipe to the right."""
    panels = list(frame.groupby("panel", sort=False))
    with figure_style():
        figure, axes = stack_axes([1.6] * len(panels), [0.85] * (len(panels) - 1) + [1.15], left=0.85, right=0.3)
        for ax, (title, panel) in zip(axes, panels, strict=True):
            if panel["bit_width"].isna().all():
                draw_nothing(ax, str(title))
            else:
                _draw_panel(ax, str(title), panel)
        figure.legend(handles=_legend(frame), loc="lower center", ncols=3)
    return figure


def _draw_panel(ax: Axes, title: str, panel: pd.DataFrame) -> None:
    widths = sorted(panel["bit_width"].unique())
    places = {width: place for place, width in enumerate(widths)}
    for shift, (measure, (_, marker, color)) in zip((-0.05, 0.05), MARKS.items(), strict=True):
        rows = panel[panel["measure"] == measure]
        x = [places[width] + shift for width in rows["bit_width"]]
        ax.errorbar(x, rows["accuracy"], yerr=rows["high"] - rows["accuracy"], fmt=marker, color=color, **INTERVAL)
        ax.errorbar(
            x, rows["accuracy"], yerr=rows["standard_error"], fmt="none", ecolor=color, elinewidth=3, alpha=0.35
        )
    paper = panel[panel["measure"] == PAPER]
    x = [places[width] for width in paper["bit_width"]]
    ax.plot(x, paper["accuracy"].astype(float), "D", markerfacecolor="none", markeredgecolor=INK, markersize=6)
    counts = panel.groupby("bit_width")["n"].max()
    labels = ["FP32" if width == FP32_BITS else f"{width:.0f} bits" for width in widths]
    labels = [f"{label}\n(n = {counts[width]:.0f})" for label, width in zip(labels, widths, strict=True)]
    ax.set_xticks(range(len(widths)), labels)
    if sum(width != FP32_BITS for width in widths) == 1:
        ax.text(0.5, 0.93, "a single bit width has records", transform=ax.transAxes, ha="center", style="italic")
    ax.margins(y=0.2)
    ax.set(xlim=(-0.6, len(widths) - 0.4), ylabel="test accuracy (%)")
    ax.tick_params(axis="x", colors=INK)
    ax.set_title(plain(title))


def _legend(frame: pd.DataFrame) -> list[Line2D]:
    handles = [
        Line2D([], [], linestyle="none", marker=mark, color=color, label=f"measured: {label}")
        for label, mark, color in MARKS.values()
    ]
    if (frame["measure"] == PAPER).any():
        hollow: dict[str, Any] = {"marker": "D", "markerfacecolor": "none", "markeredgecolor": INK}
        handles.append(Line2D([], [], linestyle="none", label="paper, as printed", **hollow))
    return handles
