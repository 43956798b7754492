"""Frames as the page's template needs them: sections, rows and cells that carry their value and origin."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from repro.analysis import Evidence
from repro.claims import verdict_counts
from repro.report.cells import CELL_COLUMNS, NOT_RUN, OURS, is_number
from repro.report.labels import scale_remark
from repro.report.ledger import FIGURES_OF_A_CLAIM
from repro.report.present import EMPTY, header
from repro.report.registry import FigureEntry, TableEntry

LONG = 36  # characters from which a cell needs room
LEADING_NUMBER = re.compile(r"(?:more than |at most )?([+−-]?\d[\d,]*(?:\.\d+)?)(?=$|[ ×%–])")


@dataclass(frozen=True)
class CellView:
    """A cell: its text, its class, and HTML attributes by which it sorts and can be traced."""

    text: str
    kind: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """The rows of one scale, with the heading that says what it is; without a heading in a plain list."""

    scale: str
    remark: str
    rows: list[list[CellView]]


@dataclass(frozen=True)
class TableView:
    """A table of the page.

    Attributes:
        name: File name without its ending.
        entry: Title, caption and part.
        frame: What the entry builds.
        shown: The same as text.
        groups: Upper header line: text and columns spanned; empty for a plain list.
        header: Lower header line.
        sections: The rows.
    """

    name: str
    entry: TableEntry
    frame: pd.DataFrame
    shown: pd.DataFrame
    groups: list[tuple[str, int]]
    header: list[str]
    sections: list[Section]


@dataclass(frozen=True)
class FigureView:
    """A figure of the page: inline SVG, alternative text and what its scales are."""

    name: str
    entry: FigureEntry
    svg: str
    alt: str
    notes: str


@dataclass(frozen=True)
class ClaimView:
    """A claim of the ledger: its texts by column, and its figures as cells by column."""

    texts: Mapping[str, str]
    cells: Mapping[str, CellView]


@dataclass(frozen=True)
class LedgerView:
    """The judged claims, and the number of them with each verdict."""

    claims: list[ClaimView]
    counts: Mapping[str, int]


def ledger_view(frame: pd.DataFrame) -> LedgerView:
    """The ledger for the template.

    Args:
        frame: What ``repro.claims.judge_claims`` returns.
    """
    claims = []
    for row in frame.to_dict("records"):
        texts = {str(name): str(value) for name, value in row.items()}
        cells = {name: _plain_cell(texts[name] or EMPTY) for name in FIGURES_OF_A_CLAIM}
        claims.append(ClaimView(texts, cells))
    return LedgerView(claims, verdict_counts(frame))


def table_view(evidence: Evidence, name: str, entry: TableEntry, frame: pd.DataFrame, shown: pd.DataFrame) -> TableView:
    """A table for the template.

    Args:
        evidence: For the descriptions of the scales.
        name: File name without its ending.
        entry: The table's entry in the registry.
        frame: What the entry builds; a frame of cells gives each its value and its origin.
        shown: What the entry shows of it.
    """
    if shown.index.nlevels == 1:
        rows = [[_plain_cell(text) for text in row] for row in shown.to_numpy().tolist()]
        columns = [str(column) for column in shown.columns]
        return TableView(name, entry, frame, shown, [], columns, [Section("", "", rows)])
    groups: dict[str, int] = {}
    for group, _ in header(shown):
        groups[group] = groups.get(group, 0) + 1
    cells = _cells_by_place(frame)
    sections = []
    for scale, part in shown.groupby(level="scale", sort=False):
        rows = []
        for label, texts in zip(part.index.get_level_values("row"), part.to_numpy().tolist(), strict=True):
            places = [(scale, label, *column) for column in header(shown)]
            views = [_cell(str(text), cells.get(place)) for text, place in zip(texts, places, strict=True)]
            rows.append([CellView(str(label)), *views])
        sections.append(Section(str(scale), scale_remark(evidence.config, str(scale)), rows))
    columns = ["row", *(column for _, column in header(shown))]
    return TableView(name, entry, frame, shown, [("", 1), *groups.items()], columns, sections)


def _cells_by_place(frame: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    if not set(CELL_COLUMNS) <= set(frame.columns):
        return {}
    cells = [{str(name): value for name, value in cell.items()} for cell in frame.to_dict("records")]
    return {(cell["scale"], cell["row"], cell["group"], cell["column"]): cell for cell in cells}


def _kind(text: str) -> str:
    if text in (NOT_RUN, EMPTY):
        return "absent"
    if "diverged" in text:
        return "diverged"
    return "long" if len(text) > LONG else ""


def _plain_cell(text: object) -> CellView:
    number = LEADING_NUMBER.match(str(text))
    sort = {"data-sort": number[1].replace("−", "-").replace(",", "")} if number else {}
    return CellView(str(text), _kind(str(text)), sort)


def _cell(text: str, cell: Mapping[str, Any] | None) -> CellView:
    """A cell of a comparison table; a column that is derived, such as the runs behind a row, has no cell."""
    if cell is None:
        return _plain_cell(text)
    attributes = {}
    value = cell["value"] if is_number(cell["value"]) else cell["low"]
    if is_number(value):
        attributes["data-sort"] = repr(float(value))
        if cell["source"] == OURS:
            origin = {name: cell[name] for name in ("experiment", "measure", "seeds", "unit")}
            attributes |= {f"data-{name}": str(text) for name, text in origin.items() if isinstance(text, str)}
    return CellView(text, _kind(text), attributes | _title(cell))


def _title(cell: Mapping[str, Any]) -> dict[str, str]:
    """Where a value comes from, for a pointer that rests on it."""
    if isinstance(cell["place"], str) and cell["place"]:
        return {"title": str(cell["place"])}
    if cell["source"] == OURS and isinstance(cell["seeds"], str) and cell["seeds"]:
        return {"title": f"{cell['measure']} of {cell['experiment']}, seeds {cell['seeds']}"}
    return {}
