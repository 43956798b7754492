"""Dot plots: cells of the tables as marks with their uncertainty, a line a row."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from repro.records import DIVERGED
from repro.report.cells import NOT_RUN, Cell
from repro.report.figures.plot import nothing, plain
from repro.report.figures.style import BAD, BEHIND, LOG_COLOR, OURS_COLOR, SHEET, SOFT, THEIRS_COLOR
from repro.report.view import View


@dataclass(frozen=True)
class Mark:
    """How a series of dots looks: hollow marks are not ours, or decide nothing."""

    label: str
    marker: str
    color: str
    hollow: bool = False

    @property
    def look(self) -> dict[str, Any]:
        """Keywords of ``Axes.plot``."""
        face = SHEET if self.hollow else self.color
        return {"linestyle": "none", "marker": self.marker, "color": self.color, "markerfacecolor": face,
                "markersize": 4.6, "markeredgewidth": 1.1}  # fmt: skip

    @property
    def handle(self) -> Line2D:
        """Its entry in a legend."""
        return Line2D([], [], label=self.label, **self.look)


PAPER_MARK = Mark("paper, as printed", "D", THEIRS_COLOR, hollow=True)
LOG_MARK = Mark("authors' log", "^", LOG_COLOR, hollow=True)
DIVERGED_MARK = Mark("diverged", "x", BAD)


Series = Mapping[Mark, Cell]
Row = tuple[str, Series]  # of a dot plot: label and cells by mark
Rows = Sequence[Row]


def our_marks(view: View) -> tuple[Mark, Mark]:
    """Best and last epoch; hollow where the scale decides nothing."""
    hollow = not view.decides
    return Mark("measured, best epoch", "o", OURS_COLOR, hollow), Mark("measured, last epoch", "s", OURS_COLOR, hollow)


def beside_digits(view: View, rows: Rows) -> Rows:
    """The rows without the paper's and the log's marks where what was measured is digits, which do not compare."""
    if view.comparable:
        return rows
    return [(label, {m: cell for m, cell in series.items() if m.color == OURS_COLOR}) for label, series in rows]


def draw_dots(ax: Axes, rows: Rows, *, wrap: int = 31, shift: float = 0.13) -> None:
    """One line a row: a mark a cell, its interval, a pale bar for one run's standard error, and what was not run.

    Args:
        ax: Where to draw.
        rows: Label and cells by mark; a range is a bar.
        wrap: Characters of a line of the labels.
        shift: Between the marks of a row that both are ours: neither may hide the other.
    """
    if not rows:
        return nothing(ax)
    for place, (_, series) in enumerate(rows):
        ours = [mark for mark in series if mark.color == OURS_COLOR]
        for mark, cell in series.items():
            step = shift * (2 * ours.index(mark) - len(ours) + 1) if mark in ours and len(ours) > 1 else 0.0
            draw_cell(ax, place + step, mark, cell)
    ax.set_yticks(range(len(rows)), [plain(_folded(label, wrap)) for label, _ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    middle = sum(ax.get_xlim()) / 2
    for place, (_, series) in enumerate(rows):
        if all(cell.status == NOT_RUN for mark, cell in series.items() if mark.color == OURS_COLOR):
            _not_run(ax, place, [x for cell in series.values() for x in (cell.value, cell.low, cell.high)], middle)
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    return None


def height_of(rows: Rows, wrap: int, line: float = 0.13) -> float:
    """Inches that the rows need: two lines of a label each, or as many as the longest has."""
    lines = max((_folded(label, wrap).count("\n") + 1 for label, _ in rows), default=1)
    return line * max(2.1, lines + 0.1) * len(rows)


def _folded(label: str, wrap: int) -> str:
    """In lines; a value stays beside what it is of."""
    return textwrap.fill(label.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"), wrap)


def _not_run(ax: Axes, place: float, others: Sequence[float], middle: float) -> None:
    """The words beside what stands in the row, on the side with more room; at the left edge of an empty row."""
    known = [x for x in others if not math.isnan(x)]
    left = bool(known) and min(known) > middle
    where = (min(known) if left else max(known)) if known else 0.012
    ax.annotate(
        "not run", (where, place), (0 if not known else -9 if left else 9, 0), textcoords="offset points", va="center",
        xycoords="data" if known else ax.get_yaxis_transform(), ha="right" if left else "left", style="italic",
        color=SOFT, size=6.8, bbox=BEHIND,
    )  # fmt: skip


def draw_cell(ax: Axes, place: float, mark: Mark, cell: Cell, *, upright: bool = False) -> None:
    """A mark with its uncertainty, along the axis or upright; a range without a value is a bar."""

    def line(*ends: float, **look: Any) -> None:
        points = list(ends), [place] * len(ends)
        ax.plot(*(reversed(points) if upright else points), **look)

    pale = {"color": mark.color, "solid_capstyle": "butt"}
    if math.isnan(cell.value):
        if math.isfinite(cell.low):
            line(cell.low, cell.high, linewidth=4, alpha=0.45, **pale)
        return
    if math.isfinite(cell.standard_error):
        line(cell.value - cell.standard_error, cell.value + cell.standard_error, linewidth=3, alpha=0.3, **pale)
    if math.isfinite(cell.low):
        x, y = (place, cell.value) if upright else (cell.value, place)
        half = [cell.high - cell.value]
        ax.errorbar([x], [y], xerr=None if upright else half, yerr=half if upright else None, fmt="none",
                    ecolor=mark.color, elinewidth=1, capsize=2)  # fmt: skip
    line(cell.value, **(DIVERGED_MARK if cell.status == DIVERGED else mark).look)


def legend_of(rows: Rows, extra: Sequence[Any] = ()) -> list[Any]:
    """Legend entries of the marks that stand somewhere, and that some diverged."""
    cells = [(mark, cell) for _, series in rows for mark, cell in series.items() if cell.known]
    shown = list(dict.fromkeys(mark for mark, cell in cells if cell.status != DIVERGED or mark is PAPER_MARK))
    diverged = [DIVERGED_MARK.handle] if any(cell.status == DIVERGED for _, cell in cells) else []
    return [*(mark.handle for mark in shown), *diverged, *extra]


def cell_lines(view: View, rows: Rows, **keys: object) -> list[dict[str, object]]:
    """What ``draw_dots`` draws as lines of a CSV."""
    return [
        {"scale": view.scale, **keys, "row": label, "series": mark.label, "status": cell.status, "value": cell.value,
         "low": cell.low, "high": cell.high, "standard_error": cell.standard_error, "n": cell.n,
         "seeds": " ".join(map(str, cell.seeds)), "experiment": cell.experiment, "measure": cell.measure}
        for label, series in rows for mark, cell in series.items()
    ]  # fmt: skip
