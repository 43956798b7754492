"""Throughput of each machine beside what the paper's training time would need."""

import pandas as pd

from repro.report.figures.plot import Drawing, Plot, canvas, log_axis, nothing, plain
from repro.report.figures.style import BEHIND, OURS_COLOR, SOFT, THEIRS_COLOR
from repro.report.tables.cost import COST, paper_demand
from repro.report.text import figure as shown
from repro.report.view import View
from repro.units import UNITS

LEAST = 3  # GFLOP/s, the left end


def _draw(view: View) -> Drawing:
    """A line a machine; the vertical line is what the paper's time would need."""
    grid = COST.grid(view)
    keys = ("flops_per_second", "range", "images_per_second", "paper_hours")
    machines = list(zip(grid.rows, *(grid.column(key) for key in keys), strict=True))
    known = [machine for machine in machines if machine[1].value > 0]
    needed = paper_demand()["flops_per_second"] * UNITS["GFLOP/s"][0]
    data = pd.DataFrame([
        {"scale": view.scale, "row": row.label, "gflops": rate.value, "low": ends.low, "high": ends.high,
         "images_per_second": images.value, "hours": hours.value, "n": rate.n, "needed": needed}
        for row, rate, ends, images, hours in machines
    ])  # fmt: skip
    figure, [[ax]] = canvas([(max(0.36 * len(known), 0.4) + 0.16, 0.34, 1)], left=0.1, right=0.25)
    if not known:
        nothing(ax)
        return Drawing(figure, data)
    for y, (row, rate, ends, _, hours) in enumerate(known):
        ax.plot([ends.low, ends.high], [y, y], color=OURS_COLOR, linewidth=1.1)
        ax.plot([rate.value], [y], "o", color=OURS_COLOR, markersize=4.6)
        words = f"{row.label}: {shown(hours)} h ({rate.n} runs)"
        ax.text(0.005, y - 0.36, plain(words), transform=ax.get_yaxis_transform(), va="center", size=7)
    ax.axvline(needed, color=THEIRS_COLOR, linestyle="--", linewidth=1.2, zorder=0)
    ax.text(needed, -0.85, f"{needed:.0f} needed", color=THEIRS_COLOR, ha="center", va="center", size=7,
            bbox=BEHIND)  # fmt: skip
    most = max(needed, *(ends.high for _, _, ends, _, _ in known))
    ax.set(xscale="log", xlim=(LEAST, 1.5 * most), ylim=(len(known) - 0.5, -1.1))
    log_axis(ax.xaxis)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("GFLOP/s in training (dot: median, line: lowest to highest run)", color=SOFT)
    return Drawing(figure, data)


THROUGHPUT = Plot(
    "figure_cost",
    "How fast would a machine have to be?",
    "Hours are those of the paper's 110 epochs of its own model at that rate. Dashed: what 2.5 hours for them need.",
    "Dot plot of GFLOP/s reached on each machine, with a dashed line at what the paper's time would need.",
    _draw,
    lambda view: view.config.experiments,
)
