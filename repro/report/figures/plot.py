"""What a figure is, and the one skeleton that all of them stand on."""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

mpl.use("Agg")

import seaborn as sns

from repro.records import DIVERGED
from repro.report.cells import NOT_RUN, Cell
from repro.report.view import Records, View
from repro.report.vocabulary import COLORS

WIDTH, HEAD = 4.3, 0.48  # inches: the page's column; the question and what the figure shows of it
INK, SOFT, LINE, SHEET = (COLORS[name][0] for name in ("ink", "soft", "line", "page"))
THEIRS_COLOR, LOG_COLOR, OURS_COLOR, PLAIN_COLOR = (COLORS[name][0] for name in ("paper", "log", "ours", "plain"))
BAD = COLORS["bad"][0]
BEHIND = {"facecolor": SHEET, "edgecolor": "none", "pad": 0.6}  # words: no line runs through them

STYLE: dict[Any, Any] = {
    **sns.axes_style("ticks"),
    "axes.edgecolor": SOFT, "axes.facecolor": SHEET, "axes.labelcolor": INK, "axes.labelsize": 7.6,
    "axes.linewidth": 0.6, "axes.grid": True, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 7.6, "axes.titlelocation": "left", "axes.titlecolor": INK, "figure.facecolor": SHEET,
    "font.family": "DejaVu Sans",
    "font.size": 7.6, "grid.color": LINE, "grid.linewidth": 0.5, "legend.frameon": False, "legend.fontsize": 7.4,
    "legend.handletextpad": 0.5, "legend.columnspacing": 1.2, "lines.linewidth": 1.3, "savefig.facecolor": SHEET,
    "svg.fonttype": "none",  # text stays text: small, and it can be searched
    "svg.hashsalt": "repro",  # the same figure gives the same bytes
    "text.color": INK, "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "xtick.labelsize": 7.2, "ytick.labelsize": 7.2, "xtick.major.size": 2.5, "ytick.major.size": 0,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6,
}  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """A drawn figure and what is in it, one line a mark: its CSV."""

    figure: Figure
    data: pd.DataFrame


@dataclass(frozen=True)
class Plot:
    """A figure of the report.

    Attributes:
        name: File name, and place in the page.
        title: The question that it answers.
        caption: What its marks are; two lines at most.
        alt: Description for those who do not see it; scale, data and seeds are added to it.
        draw: The records of a scale as a drawing.
        experiments: Whose records choose the scale.
        alone: Whether it says something without any record.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[View], Drawing]
    experiments: Callable[[View], Iterable[str]] = lambda view: ()
    alone: bool = False

    def views(self, records: Records) -> list[View]:
        """The scales that it has, the strongest first."""
        return records.views(self.experiments(View(records, records.config.scale)))

    def drawing(self, view: View) -> Drawing:
        """The figure at one scale, with its question and what it shows above."""
        with figure_style():
            drawing = self.draw(view)
            names = list(self.experiments(view))
            _head(drawing.figure, self.title, view.about(names) if names else "")
        return drawing


def figure_style() -> AbstractContextManager[None]:
    """The settings under which a figure is drawn and saved."""
    return mpl.rc_context(STYLE)


def canvas(
    rows: Sequence[tuple[float, float, int]],
    *,
    left: float = 0.5,
    right: float = 0.1,
    between: float = 0.5,
    legend: Sequence[Any] = (),
    columns: int = 2,
    head: float = HEAD,
) -> tuple[Figure, list[list[Axes]]]:
    """Rows of axes at fixed places; an automatic layout differs in its last digits from run to run.

    Args:
        rows: Height in inches, space below in inches, and number of axes of each row.
        left: Left margin in inches.
        right: Right margin in inches.
        between: Space between the axes of a row in inches.
        legend: Handles of the one legend, at the foot.
        columns: Columns of the legend.
        head: Space above for the question, more where panels have titles.

    Returns:
        The figure, which belongs to no global state, so that nothing needs closing, and its axes by row.
    """  # fmt: skip
    foot = 0.06 + 0.15 * math.ceil(len(legend) / columns)
    total = head + sum(height + gap for height, gap, _ in rows) + foot
    figure = Figure(figsize=(WIDTH, total))
    grid, y = [], total - head
    for height, gap, count in rows:
        y -= height
        width = (WIDTH - left - right - between * (count - 1)) / count
        places = [left + place * (width + between) for place in range(count)]
        grid.append([figure.add_axes((x / WIDTH, y / total, width / WIDTH, height / total)) for x in places])
        y -= gap
    if legend:
        figure.legend(handles=list(legend), loc="lower left", ncols=columns, bbox_to_anchor=(0, 0), borderaxespad=0.2)
    return figure, grid


def _head(figure: Figure, title: str, about: str) -> None:
    """The question in bold, and below it what the figure shows."""
    height = float(figure.get_figheight())
    figure.text(0.06 / WIDTH, 1 - 0.13 / height, plain(title), weight="bold", size=8, va="center")
    figure.text(0.06 / WIDTH, 1 - 0.31 / height, plain(about), size=7.2, color=SOFT, va="center")


def nothing(ax: Axes, text: str = "not run") -> None:
    """An empty panel that says so."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, plain(text), transform=ax.transAxes, ha="center", va="center", style="italic", color=SOFT)


def whole_ticks(ax: Axes) -> None:
    """Epochs are whole numbers."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def log_axis(axis: Any) -> None:
    """0.2 and 0.5 rather than powers of ten; minor ticks of a logarithmic axis cost more than all else."""
    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high < 100 * low else (1.0,)
    axis.set_major_locator(mpl.ticker.LogLocator(subs=steps, numticks=9))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def plain(text: str) -> str:
    """Text that matplotlib must not read as mathematics."""
    return text.replace("$", r"\$")


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


def our_marks(view: View, best: str = "best epoch", last: str = "last epoch") -> tuple[Mark, Mark]:
    """Best and last epoch; hollow where the scale decides nothing."""
    return (Mark(f"measured, {best}", "o", OURS_COLOR, not view.decides),
            Mark(f"measured, {last}", "s", OURS_COLOR, not view.decides))  # fmt: skip


Series = Mapping[Mark, Cell]


def beside_digits(view: View, rows: Sequence[tuple[str, Series]]) -> list[tuple[str, Series]]:
    """The rows without the paper's and the log's marks where what was measured is digits, which do not compare."""
    if view.comparable:
        return list(rows)
    return [(label, {m: cell for m, cell in series.items() if m.color == OURS_COLOR}) for label, series in rows]


def draw_dots(ax: Axes, rows: Sequence[tuple[str, Series]], *, wrap: int = 31, shift: float = 0.13) -> None:
    """One line a row: a mark a cell, its interval, a pale bar for one run's standard error, and what was not run.

    Args:
        ax: Where to draw.
        rows: Label and cells by mark; a range is a bar.
        wrap: Characters of a line of the labels.
        shift: Between the marks of a row that both are ours: neither may hide the other.
    """
    for place, (_, series) in enumerate(rows):
        ours = [mark for mark in series if mark.color == OURS_COLOR]
        for mark, cell in series.items():
            step = shift * (2 * ours.index(mark) - len(ours) + 1) if mark in ours and len(ours) > 1 else 0.0
            draw_cell(ax, place + step, mark, cell)
    ax.set_yticks(range(len(rows)), [plain(textwrap.fill(label, wrap)) for label, _ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    middle = sum(ax.get_xlim()) / 2
    for place, (_, series) in enumerate(rows):
        if all(cell.status == NOT_RUN for mark, cell in series.items() if mark.color == OURS_COLOR):
            left = any(cell.key > middle for cell in series.values())  # beside the paper's mark, not over it
            ax.text(0.012 if left else 0.988, place, "not run", transform=ax.get_yaxis_transform(), va="center",
                    ha="left" if left else "right", style="italic", color=SOFT, size=6.8,
                    bbox=BEHIND)  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))


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


def legend_of(rows: Iterable[tuple[str, Series]], extra: Sequence[Any] = ()) -> list[Any]:
    """Legend entries of the marks that stand somewhere, and that some diverged."""
    cells = [(mark, cell) for _, series in rows for mark, cell in series.items() if cell.known]
    shown = list(dict.fromkeys(mark for mark, cell in cells if cell.status != DIVERGED or mark is PAPER_MARK))
    diverged = [DIVERGED_MARK.handle] if any(cell.status == DIVERGED for _, cell in cells) else []
    return [*(mark.handle for mark in shown), *diverged, *extra]


def cell_lines(view: View, rows: Iterable[tuple[str, Series]], **keys: object) -> list[dict[str, object]]:
    """What ``draw_dots`` draws as lines of a CSV."""
    return [
        {"scale": view.scale, **keys, "row": label, "series": mark.label, "status": cell.status, "value": cell.value,
         "low": cell.low, "high": cell.high, "standard_error": cell.standard_error, "n": cell.n,
         "seeds": " ".join(map(str, cell.seeds)), "experiment": cell.experiment, "measure": cell.measure}
        for label, series in rows for mark, cell in series.items()
    ]  # fmt: skip
