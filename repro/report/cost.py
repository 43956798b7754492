"""Cost: the throughput of each machine against what the paper's training time would need."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from repro.analysis import Architecture, Evidence, scale_order
from repro.paper import parse_printed, read_table
from repro.records import COMPLETED
from repro.report.cells import NOT_RUN, OURS, PAPER, Cell, cell_frame, paper_cell, run_fields
from repro.report.labels import data_label
from repro.report.panels import NOT_RUN_HERE
from repro.report.parity import DERIVED
from repro.report.style import COLORS, INK, figure_style, plain, stack_axes
from repro.report.tables import MEASURED, THEIRS

GIGA = 1e9
SECONDS_AN_HOUR = 3600
FULL = 1.0  # width of the paper's model
GFLOPS, IMAGES, NEEDED, HOURS = "GFLOP/s reached", "images/s", "GFLOP/s needed", "hours for the paper's epochs"
RANGE, RATE_HOURS = "lowest to highest GFLOP/s", f"{HOURS} at this GFLOP/s"
BY = ["platform", "precision", "torch_threads", "width"]


def paper_demand() -> Mapping[str, float]:
    """What "2.5 hours for 110 epochs" would need, evaluation not counted.

    Returns:
        ``hours``, ``epochs``, ``flops`` (of a training step of the paper's model, an image), ``images_per_second``
        and ``gflops`` (GFLOP/s to sustain).
    """
    paper = read_table("training_time")
    hours, epochs = (parse_printed(paper["values"][name]).low for name in ("hours", "epochs"))
    flops = float(Architecture(paper["classes"]).step_flops)
    rate = epochs * paper["train_images"] / (hours * SECONDS_AN_HOUR)
    return {"hours": hours, "epochs": epochs, "flops": flops, "images_per_second": rate, "gflops": rate * flops / GIGA}


def cost_table(evidence: Evidence) -> pd.DataFrame:
    """One row a machine, precision and number of threads: images/s, FLOPs and GFLOP/s, each a median over runs."""
    runs = pd.concat([evidence.runs, evidence.repeats]).drop_duplicates("path")
    runs = runs.dropna(subset=["train_images_per_second"])  # a PTQ run trains nothing
    found = set(runs["scale"])
    scales = [scale for scale in scale_order(evidence.config) if scale in found] or [evidence.config.scale]
    cells: list[Cell] = []
    for scale in scales:
        groups = runs[runs["scale"] == scale].groupby(BY, sort=False, dropna=False)
        rows = [(_label(keys), members) for keys, members in groups] or [("any machine", runs.iloc[:0])]
        for label, members in rows:
            key = {"scale": scale, "row": label}
            cells += [{**key, "group": THEIRS, **cell} for cell in _demand()]
            cells += [{**key, "group": MEASURED, **cell} for cell in _reached(members)]
    return cell_frame(cells)


def _label(keys: tuple[Any, ...]) -> str:
    platform, precision, threads, width = keys
    count = "" if math.isnan(threads) else f" · {threads:.0f} thread{'s' if threads > 1 else ''}"
    return f"{platform or 'unknown machine'} · {precision}{count} · width {width:g}"


def _demand() -> list[Cell]:
    paper, demand = read_table("training_time"), paper_demand()
    place = f"{paper['place']}: {demand['hours']:g} hours for {demand['epochs']:g} epochs, by arithmetic"
    derived: Cell = {"source": PAPER, "status": COMPLETED, "place": place, "digits": 0}
    return [
        {"column": HOURS, **paper_cell(paper["values"]["hours"], "hours", paper["place"])},
        {"column": "images/s needed", **derived, "unit": IMAGES, "value": demand["images_per_second"]},
        {"column": NEEDED, **derived, "unit": "GFLOP/s", "value": demand["gflops"]},
    ]


def _reached(runs: pd.DataFrame) -> list[Cell]:
    """Medians over the runs of one machine, the range of GFLOP/s, and the paper's epochs at the median rate."""
    about: Cell = {"source": DERIVED, "n": len(runs), "digits": 0}
    data: Cell = {"column": "data", "source": OURS, "unit": "text", "n": len(runs), "measure": "data"}
    columns = (IMAGES, "MFLOP an image and step", GFLOPS, RANGE, RATE_HOURS, "wall hours, all runs")
    if runs.empty:
        none: Cell = {"status": NOT_RUN, "unit": ""}
        return [{**data, **none}, *({"column": column, **about, **none, "measure": column} for column in columns)]
    about |= run_fields(runs.set_index("seed")) | {"experiment": f"{len(runs)} runs", "status": COMPLETED}
    about["seeds"] = " ".join(str(seed) for seed in sorted(runs["seed"].unique()))
    gflops = runs["train_images_per_second"] * runs["step_flops_per_image"] / GIGA
    median, demand = float(gflops.median()), paper_demand()
    hours = demand["hours"] * demand["gflops"] / median if median > 0 else math.nan
    wall = float((runs["wall_seconds"] - runs["shared_seconds"]).sum()) / SECONDS_AN_HOUR  # shared epochs count once
    figures: list[tuple[str, str, Cell]] = [
        ("train_images_per_second", IMAGES, {"value": float(runs["train_images_per_second"].median())}),
        ("step_flops_per_image", "MFLOP", {"value": float(runs["step_flops_per_image"].median()) / 1e6}),
        ("gflops", "GFLOP/s", {"value": median}),
        ("gflops", "GFLOP/s", {"low": float(gflops.min()), "high": float(gflops.max()), "n": None}),
        ("hours", "hours", {"value": hours, "digits": 1}),
        ("wall_seconds", "hours", {"value": wall, "digits": 2}),
    ]
    return [
        {**about, **data, "note": about["data"]},
        *[
            {"column": column, **about, "measure": measure, "unit": unit, **figure}
            for column, (measure, unit, figure) in zip(columns, figures, strict=True)
        ],
    ]


def cost_points(evidence: Evidence) -> pd.DataFrame:
    """The GFLOP/s of the cost table, one row a machine.

    Returns:
        ``panel``, ``scale``, ``row``, ``gflops`` (median), ``low``, ``high``, ``images_per_second``, ``hours`` (for
        the paper's epochs of its model at this rate), ``n``, ``needed`` (GFLOP/s).
    """
    cells = cost_table(evidence)
    ours = cells[cells["source"] == DERIVED].set_index("column")
    data = cells.dropna(subset=["data"]).groupby("scale")["data"].agg(" ".join)
    rows = []
    for (scale, label), group in ours.groupby(["scale", "row"], sort=False):
        known = group.loc[GFLOPS, "status"] != NOT_RUN
        rows.append({
            "panel": _panel(str(scale), data.loc[str(scale)]) if known else NOT_RUN_HERE, "scale": scale, "row": label,
            "gflops": group.loc[GFLOPS, "value"], "low": group.loc[RANGE, "low"],
            "high": group.loc[RANGE, "high"], "images_per_second": group.loc[IMAGES, "value"],
            "hours": group.loc[RATE_HOURS, "value"], "n": group.loc[GFLOPS, "n"],
            "needed": paper_demand()["gflops"],
        })  # fmt: skip
    return pd.DataFrame(rows)


def _panel(scale: str, data: str) -> str:
    return f"Scale {scale} · {', '.join(data_label(name) for name in dict.fromkeys(data.split()))}"


def draw_cost(frame: pd.DataFrame) -> Figure:
    """A line a machine; the vertical line is what the paper's time would need."""
    panels = list(frame.groupby("panel", sort=False))
    with figure_style():
        heights = [0.55 * len(panel) + 0.25 for _, panel in panels]
        figure, axes = stack_axes(heights, [0.85] * len(panels), left=0.3, right=0.3)
        for ax, (title, panel) in zip(axes, panels, strict=True):
            _draw_panel(ax, str(title), panel, float(frame["high"].max()))
    return figure


def _draw_panel(ax: Axes, title: str, panel: pd.DataFrame, most: float) -> None:
    needed = float(panel["needed"].iloc[0])
    lines = [(place - 0.16, place + 0.42) for place in range(len(panel))]  # not through the words above each
    ax.vlines([needed] * len(lines), *zip(*lines, strict=True), color=COLORS[3], linestyle="--", linewidth=1.8)
    ax.text(needed, -0.62, f"{needed:.0f} needed", color=INK, ha="center", va="center", fontsize=8.5)
    for place, row in enumerate(panel.to_dict("records")):
        if not row["gflops"] > 0:
            ax.text(0.01, place, "not run", transform=ax.get_yaxis_transform(), style="italic", va="center")
            continue
        ax.plot([row["low"], row["high"]], [place, place], color=COLORS[0], linewidth=1.4)
        ax.plot([row["gflops"]], [place], "o", color=COLORS[0], markersize=6)
        runs = f"{row['n']:.0f} run{'s' if row['n'] > 1 else ''} · {row['images_per_second']:,.0f} images/s"
        words = f"{row['row']} · {runs} · paper's epochs: {row['hours']:.1f} h"
        ax.text(0.01, place - 0.3, plain(words), transform=ax.get_yaxis_transform(), va="center", fontsize=8.5)
    ax.set(xscale="log", xlim=(3, 1.6 * max(needed, most if most == most else 0)), ylim=(len(panel) - 0.5, -0.9))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())  # minor ticks of a logarithmic axis cost more than all else
    ax.set_yticks([])
    ax.set_xlabel("GFLOP/s reached in training (median; line: lowest to highest run)")
    ax.set_title(plain(title))
