"""Columns that several tables have."""

from repro.paper import log_summary
from repro.report.cells import Cell, log_cell, our_cell, our_difference, paper_cell
from repro.report.tables.table import Column, Row
from repro.report.view import View
from repro.report.vocabulary import MEASURED, RULES, THEIR_LOG, THEIRS


def printed(key: str, title: str, unit: str) -> Column:
    """A value as the paper prints it."""
    return Column(f"paper {key}", title, THEIRS, lambda view, row: paper_cell(row.printed.get(key), unit, row.place))


def logged(measure: str, title: str) -> Column:
    """An accuracy of the authors' log over its whole run."""

    def cell(view: View, row: Row) -> Cell:
        return log_cell(log_summary(row.log) if row.log else {}, measure, "%", row.log or "")

    return Column(f"log {measure}", title, THEIR_LOG, cell)


def measured(measure: str, title: str, unit: str = "%", *, group: str = MEASURED, aside: bool = False) -> Column:
    """A figure of the runs' records."""
    return Column(measure, title, group, lambda view, row: our_cell(view, row.experiment, measure, unit), aside)


def accuracy(rule: str) -> Column:
    """Test accuracy under a rule of selection."""
    return measured(rule, f"{RULES[rule]} (%)")


def difference(rule: str, title: str, unit: str = "points", *, aside: bool = False) -> Column:
    """A row's accuracy less that of its reference (``points``), or the reverse (``gap``), over common seeds."""

    def cell(view: View, row: Row) -> Cell:
        return our_difference(view, row.experiment, row.reference, rule, unit)

    return Column(f"{unit} {rule}", title, MEASURED, cell, aside)
