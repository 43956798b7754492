"""What a figure is, and the one skeleton that all of them stand on."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from repro.report.figures.style import SOFT, figure_style
from repro.report.view import Records, View

WIDTH, HEAD = 4.3, 0.48  # inches: the page's column; the question and what the figure shows of it


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
        decides: Whether it needs the paper's own epochs, so that only scales that decide have it.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[View], Drawing]
    experiments: Callable[[View], Iterable[str]] = lambda view: ()
    alone: bool = False
    decides: bool = False

    def views(self, records: Records) -> list[View]:
        """The scales that it has, the strongest first."""
        found = records.views(self.experiments(View(records, records.config.scale)))
        return [view for view in found if view.decides or not self.decides]

    def measured(self, view: View) -> bool:
        """Whether a scale has anything to draw."""
        return self.alone or any(len(view.runs(name)) for name in self.experiments(view))

    def drawing(self, view: View) -> Drawing:
        """The figure at one scale, with its question and what it shows above."""
        with figure_style():
            drawing = self.draw(view)
            names = list(self.experiments(view))
            _head(drawing.figure, self.title, view.about(names) if names else "")
        return drawing


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
    axis.set_major_locator(LogLocator(subs=steps, numticks=9))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def plain(text: str) -> str:
    """Text that matplotlib must not read as mathematics."""
    return text.replace("$", r"\$")


def layers_axis(ax: Axes, layers: Sequence[str], size: float) -> None:
    """A line a layer, the first on top."""
    ax.set_yticks(range(len(layers)), [plain(name) for name in layers])
    ax.tick_params(axis="y", labelsize=size)
    ax.set_ylim(len(layers) - 0.5, -0.5)
