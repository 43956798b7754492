"""What a table is: one declaration of its rows and columns; everything else is made from it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import groupby
from typing import Any

import pandas as pd

from repro.report.cells import NONE, Cell
from repro.report.text import describe
from repro.report.view import Key, Records, View


@dataclass(frozen=True)
class Row:
    """A row: what its columns need to know.

    Attributes:
        label: How it is named.
        experiment: Experiment that measures it.
        reference: Experiment that differences refer to.
        printed: The paper's values as printed, by column.
        place: Where the paper has them.
        log: Data set of the authors' log.
        data: Anything else that its table's columns read.
        note: For the row's details.
    """

    label: str
    experiment: str | None = None
    reference: str | None = None
    printed: Mapping[str, str] = field(default_factory=dict)
    place: str = ""
    log: str | None = None
    data: Any = None
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        key: Name that figures find it by.
        title: Heading.
        group: Heading over several columns, the source of their figures.
        cell: What stands in a row.
        aside: In the CSV alone, so that the table stays light.
    """

    key: str
    title: str
    group: str
    cell: Callable[[View, Row], Cell]
    aside: bool = False


@dataclass(frozen=True)
class Table:
    """A comparison table of the report.

    Attributes:
        name: File name, and place in the page.
        title: Heading.
        caption: Two lines at most; how to read a cell is said once for all tables.
        rows: Its rows in the records of a scale.
        columns: Its columns.
        experiments: Whose records choose the scale; by default those of the rows.
    """

    name: str
    title: str
    caption: str
    rows: Callable[[View], Iterable[Row]]
    columns: Sequence[Column]
    experiments: Callable[[View], Iterable[str]] | None = None

    def views(self, records: Records) -> list[View]:
        """The scales that it has, the strongest first."""
        anywhere = View(records, records.config.scale)
        if self.experiments:
            return records.views(self.experiments(anywhere))
        return records.views(row.experiment for row in self.rows(anywhere) if row.experiment)

    def grid(self, view: View) -> "Grid":
        """Its cells at one scale, made once."""
        made: dict[Key, Grid] = view.records.grids
        if (self.name, view.scale) not in made:
            rows = [row for row in self.rows(view) if _takes_part(view, row)]
            own = list(self.experiments(view)) if self.experiments else [row.experiment or "" for row in rows]
            cells = [[column.cell(view, row) for column in self.columns] for row in rows]
            made[self.name, view.scale] = Grid(view, own, rows, self.columns, cells)
        return made[self.name, view.scale]


def _takes_part(view: View, row: Row) -> bool:
    """Whether a row's experiment is to run at the scale at all: if not, nothing is missing there."""
    known = view.config.experiments.get(row.experiment or "")
    return known is None or known.takes_part(view.scale)


@dataclass(frozen=True)
class Grid:
    """The cells of a table at one scale, row by row.

    Attributes:
        view: The records of that scale.
        experiments: Those that choose it.
        rows: The rows.
        columns: The columns.
        cells: By row and column.
    """

    view: View
    experiments: Sequence[str]
    rows: Sequence[Row]
    columns: Sequence[Column]
    cells: Sequence[Sequence[Cell]]

    @cached_property
    def shown(self) -> list[int]:
        """Columns for readers: not the ones set aside, nor those that have nothing in any row."""
        return [
            place
            for place, column in enumerate(self.columns)
            if not column.aside and any(row[place].status != NONE for row in self.cells)
        ]

    @cached_property
    def groups(self) -> list[tuple[str, int]]:
        """Headings over the shown columns, and how many each covers."""
        names = [self.columns[place].group for place in self.shown]
        return [(name, sum(1 for _ in same)) for name, same in groupby(names)]

    def starts(self, place: int) -> bool:
        """Whether a group of columns starts at a shown one."""
        before = self.shown.index(place) - 1
        return before < 0 or self.columns[self.shown[before]].group != self.columns[place].group

    @cached_property
    def filled(self) -> list[int]:
        """Rows with anything to show; all of them where there is nothing."""
        places = range(len(self.rows))
        return [place for place in places if any(cell.known for cell in self.cells[place])] or list(places)

    @property
    def waiting(self) -> list[str]:
        """Names of the rows that are not shown because nothing of them was run."""
        return [row.label for place, row in enumerate(self.rows) if place not in self.filled]

    def worded(self, place: int) -> bool:
        """Whether a column holds words."""
        return all(row[place].unit == "text" for row in self.cells)

    def column(self, key: str) -> list[Cell]:
        """The cells of a column, a row each."""
        place = next(place for place, column in enumerate(self.columns) if column.key == key)
        return [row[place] for row in self.cells]

    def details(self, place: int) -> list[str]:
        """What stands behind a row: its runs, whose weights they took, and its note."""
        row = self.rows[place]
        taken = self.view.weights_taken(row.experiment)
        return [text for text in (*describe(self.cells[place]), taken, row.note, row.place) if text]

    def frame(self) -> pd.DataFrame:
        """One line a cell, with where it stands and all that is known about it: the CSV."""
        lines = [
            {"scale": self.view.scale, "row": row.label, "group": column.group, "column": column.title}
            | vars(cell)
            | {"seeds": " ".join(map(str, cell.seeds))}
            for row, cells in zip(self.rows, self.cells, strict=True)
            for column, cell in zip(self.columns, cells, strict=True)
        ]
        return pd.DataFrame(lines, columns=["scale", "row", "group", "column", *(each.name for each in fields(Cell))])
