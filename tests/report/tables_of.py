"""The report's tables as a test reads them: a dictionary of texts by row and column."""

from report_factory import RecordFactory

from repro.analysis import load_evidence
from repro.report.figures.plot import Plot
from repro.report.figures.statements import STATEMENTS
from repro.report.page.contents import contents
from repro.report.tables.groups import DIGITS
from repro.report.tables.table import Grid, Table
from repro.report.text import cell_text
from repro.report.view import Records, View


def records_of(factory: RecordFactory) -> Records:
    return Records(load_evidence(factory.config, factory.results))


def all_tables(config) -> dict[str, Table]:
    blocks = [block for part in contents(config) for block in part.blocks]
    return {block.table.name: block.table for block in blocks if block.table} | {DIGITS.name: DIGITS}


def all_plots(config) -> dict[str, Plot]:
    plots = [plot for part in contents(config) for block in part.blocks for plot in block.plots]
    return {plot.name: plot for plot in (STATEMENTS, *plots)}


def views(factory: RecordFactory, name: str) -> list[View]:
    return all_tables(factory.config)[name].views(records_of(factory))


def grid(factory: RecordFactory, name: str, scale: str | None = None) -> Grid:
    """The table at a scale; by default at the strongest that it has."""
    table, records = all_tables(factory.config)[name], records_of(factory)
    return table.grid(View(records, scale) if scale else table.views(records)[0])


def rows(grid: Grid) -> dict[str, dict[str, str]]:
    """Text by row and by the column's key."""
    keys = [column.key for column in grid.columns]
    return {
        row.label: dict(zip(keys, map(cell_text, cells), strict=True))
        for row, cells in zip(grid.rows, grid.cells, strict=True)
    }


def shown(factory: RecordFactory, name: str, scale: str | None = None) -> dict[str, dict[str, str]]:
    return rows(grid(factory, name, scale))


def drawing(factory: RecordFactory, name: str, scale: str | None = None):
    plot, records = all_plots(factory.config)[name], records_of(factory)
    return plot.drawing(View(records, scale) if scale else plot.views(records)[0])
