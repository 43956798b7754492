"""The methods of the table side by side as dots: one axis of accuracy, a line a method, ordered by their bits."""

import pandas as pd

from repro.report.figures.plot import Drawing, Plot, canvas, cell_lines, draw_dots, legend_of, nothing, our_marks
from repro.report.tables.methods import SIDE_BY_SIDE, compared
from repro.report.view import View
from repro.report.vocabulary import LAST


def _draw(view: View) -> Drawing:
    grid, mark = SIDE_BY_SIDE.grid(view), our_marks(view)[1]
    found = [
        (bits.value, cell.value, f"{row.label} · {bits.value:.2f} bits", {mark: cell})
        for row, bits, cell in zip(grid.rows, grid.column("packed_bits"), grid.column(LAST), strict=True)
        if cell.known
    ]
    rows = [(label, series) for _, _, label, series in sorted(found, key=lambda entry: (-entry[0], -entry[1]))]
    figure, [[ax]] = canvas([(max(0.2 * len(rows), 0.4), 0.4, 1)], left=2.2, legend=legend_of(rows))
    if not rows:
        nothing(ax)
        return Drawing(figure, pd.DataFrame(cell_lines(view, [])))
    draw_dots(ax, rows, wrap=44)
    ax.set_xlabel("test accuracy after the last epoch (%)")
    ax.margins(x=0.06)
    return Drawing(figure, pd.DataFrame(cell_lines(view, rows)))


METHODS = Plot(
    "accuracy_by_bits",
    "How much accuracy at how many bits?",
    "The main run's training under every method, the most bits a parameter first. One seed where no interval stands.",
    "Dot plot of test accuracy after the last epoch, one line a method, ordered by the bits a parameter in a file.",
    _draw,
    lambda view: [experiment.name for experiment in compared(view.config)],
)
