"""Table VII and parity as figures: differences with their intervals."""

from dataclasses import replace

import pandas as pd

from repro.analysis.equivalence import MARGIN
from repro.paper import read_table
from repro.report.experiments import members
from repro.report.figures.dots import PAPER_MARK, beside_digits, cell_lines, draw_dots, legend_of, our_marks
from repro.report.figures.plot import Drawing, Plot, canvas
from repro.report.figures.style import SOFT
from repro.report.tables.ablation import TABLE7
from repro.report.tables.accuracy import PAIRS, PARITY
from repro.report.view import View
from repro.report.vocabulary import BEST, LAST


def _draw_ablation(view: View) -> Drawing:
    grid, (best, last) = TABLE7.grid(view), our_marks(view)
    columns = {PAPER_MARK: "paper difference", best: f"points {BEST}", last: f"points {LAST}"}
    series = {mark: grid.column(key) for mark, key in columns.items()}
    found = [
        (row.label, {mark: cells[place] for mark, cells in series.items()})
        for place, row in enumerate(grid.rows)
        if row.experiment != row.reference
    ]
    rows = beside_digits(view, found)
    figure, [[ax]] = canvas([(0.29 * len(rows), 0.4, 1)], left=1.78, legend=legend_of(rows), columns=3)
    draw_dots(ax, rows)
    ax.axvline(0, color=SOFT, linewidth=0.9)
    ax.set_xlabel("points of test accuracy against the full method")
    ax.margins(x=0.06)
    return Drawing(figure, pd.DataFrame(cell_lines(view, rows)))


ABLATION = Plot(
    "ablation",
    "Which component does the accuracy hang on?",
    "Each run minus the full method over common seeds. Diamonds: the paper's, by subtraction; each reading of "
    "“w/o per-layer scaling” carries its one value.",
    "Dot plot of accuracy differences from the full method, one line an ablation; the numbers are those of table VII.",
    _draw_ablation,
    lambda view: [member.name for member in members(view.config, read_table("table7")["group"])],
    alone=True,
)


def _draw_parity(view: View) -> Drawing:
    grid = PARITY.grid(view)
    ours = replace(our_marks(view)[0], label="measured, mean of paired differences")
    found = [
        (row.label, {PAPER_MARK: paper, ours: cell})
        for row, paper, cell in zip(grid.rows, grid.column("paper gap"), grid.column("difference"), strict=True)
    ]
    rows = beside_digits(view, found)
    figure, [[ax]] = canvas([(0.26 * len(rows), 0.4, 1)], left=1.78, legend=legend_of(rows), columns=2)
    ax.axvspan(-100 * MARGIN, 100 * MARGIN, color=SOFT, alpha=0.16, linewidth=0)
    ax.axvline(0, color=SOFT, linewidth=0.9)
    draw_dots(ax, rows)
    ax.set_xlabel(f"4-bit minus unquantised, points (band: ±{100 * MARGIN:g})")
    ax.margins(x=0.1)
    return Drawing(figure, pd.DataFrame(cell_lines(view, rows)))


FULL_PRECISION = Plot(
    "full_precision",
    "Does 4-bit training reach full precision?",
    "Parity is shown where the whole interval lies inside the band. With one seed there is no interval.",
    "Dot plot of 4-bit minus unquantised accuracy for both data sets and three rules of selection, the margin a band.",
    _draw_parity,
    lambda view: [name for pair in PAIRS.values() for name in pair],
)
