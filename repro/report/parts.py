"""The report as its page and its Markdown tell it: an overview, then the parts with their tables and figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from repro.report.registry import BEYOND, LEDGER, OVERVIEW, RECORDS, RESULTS
from repro.report.views import FigureView, LedgerView, TableView

PARTS = {
    OVERVIEW: "Overview",
    RESULTS: "Tables and figures of the paper",
    BEYOND: "Beyond the paper",
    LEDGER: "Claim by claim",
    RECORDS: "Records",
}


@dataclass(frozen=True)
class Part:
    """A part of the report.

    Attributes:
        name: Name in the registry; the part's place in the page.
        title: Heading.
        tables: Its tables in the registry's order.
        figures: Its figures, which follow them.
    """

    name: str
    title: str
    tables: list[TableView]
    figures: list[FigureView]


@dataclass(frozen=True)
class Report:
    """All that the page and the Markdown say.

    Attributes:
        question: What was asked, to follow "The question:".
        how_to_read: How the parts answer it.
        warnings: What limits every number.
        scales: One sentence a scale with records.
        ledger: The judged claims.
        parts: Every part that has a table or a figure.
    """

    question: str
    how_to_read: str
    warnings: list[str]
    scales: list[str]
    ledger: LedgerView
    parts: list[Part]


def group_parts(tables: Sequence[TableView], figures: Sequence[FigureView]) -> list[Part]:
    """Tables and figures by part, in the page's order; an empty part is left out."""
    parts = [
        Part(
            name,
            title,
            [view for view in tables if view.entry.part == name],
            [view for view in figures if view.entry.part == name],
        )
        for name, title in PARTS.items()
    ]
    return [part for part in parts if part.tables or part.figures]
