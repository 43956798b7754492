"""Cells as text: for the page, for Markdown and for LaTeX."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from repro.records import DIVERGED
from repro.report.cells import NOT_RUN, Cell
from repro.report.vocabulary import EXACT, OURS, PAPER, counted, data_label, seeds_label
from repro.units import WHOLE

EMPTY = "–"
ONE_SEED = "†"
LONG_TABLE, LONG_TEXT = 40, 60  # rows that still fit a page, characters that still fit a column
MARKDOWN = str.maketrans({"|": r"\|", "<": "&lt;", "\n": " "})  # text can neither end its cell nor become HTML
READ_BY_LATEX = str.maketrans({character: f"\\{character}" for character in "%&_#$"})
ASCII = str.maketrans({
    "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "–": "--", "’": "'", "·": r"$\cdot$", "“": "``", "”": "''",
    "†": r"$^\dagger$", "Δ": r"$\Delta$", "≤": r"$\le$", "\u00a0": "~",
})  # fmt: skip


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """A number with a true minus sign; thousands are set apart."""
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    return (text.lstrip("+-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def figure(cell: Cell) -> str:
    """The figure or the words of a cell, without its uncertainty."""
    if cell.status == NOT_RUN:
        return NOT_RUN
    if not cell.known or cell.unit == "text":
        return cell.text or EMPTY
    digits = cell.digits
    if math.isnan(cell.value):
        if math.isnan(cell.low):
            return "no value"
        low, high = number(cell.low, digits), number(cell.high, digits)
        return low if low == high else f"{low}–{high}"
    if cell.unit == "p":
        return "<0.001" if cell.value < 0.001 else number(cell.value, 3)
    if cell.unit in WHOLE and cell.value.is_integer() and cell.source != PAPER:
        digits = 0
    return number(cell.value, digits, signed=cell.unit == "points") + ("×" if cell.unit == "ratio" else "")


def spread(cell: Cell) -> str:
    """Its uncertainty: ``±`` half the 95 % interval over seeds, or in brackets one run's standard error."""
    if not cell.known or math.isnan(cell.value) or cell.text:
        return ""
    if math.isfinite(cell.low):
        half = cell.value - cell.low
        return "" if half == 0 else f"±{half:.{max(cell.digits, 1)}f}"
    return f"({cell.standard_error:.{max(cell.digits, 1)}f})" if math.isfinite(cell.standard_error) else ""


def mark(cell: Cell) -> str:
    """A dagger at what comes from a single run and would differ with another seed."""
    one = cell.known and cell.source == OURS and cell.n == 1 and not cell.text
    return ONE_SEED if one and cell.unit not in EXACT else ""


def warning(cell: Cell) -> str:
    """That runs behind it diverged."""
    if cell.status != DIVERGED:
        return ""
    return f"{cell.diverged} of {cell.n} diverged" if cell.n > 1 else "diverged"


def cell_text(cell: Cell) -> str:
    """The whole cell in one line, such as ``92.31 ±0.12`` or ``85.47 (0.35)†``."""
    tail = [text for text in (spread(cell), warning(cell)) if text]
    return " ".join([figure(cell), *tail]) + mark(cell)


def kind(cell: Cell, worded: bool, start: bool) -> str | None:
    """Classes of a cell in the page: in a column of words, and in one with which a group starts."""
    names = {"absent": not cell.known, "word": worded, "start": start}
    return " ".join(name for name, given in names.items() if given) or None


def origin(cell: Cell) -> dict[str, str]:
    """What a cell sorts by and, for a figure of ours, where it comes from, as attributes."""
    attributes = {} if math.isnan(cell.key) or not cell.known else {"data-sort": f"{cell.key:.12g}"}
    if attributes and cell.source == OURS:
        seeds = " ".join(map(str, cell.seeds))
        attributes |= {"data-experiment": cell.experiment, "data-measure": cell.measure, "data-seeds": seeds,
                       "data-unit": cell.unit, "data-digits": str(cell.digits)}  # fmt: skip
    return attributes


def describe(cells: Iterable[Cell]) -> list[str]:
    """The runs behind measured cells, such as ``main_cifar10: CIFAR-10, seed 0, 12 epochs``."""
    texts = (
        f"{cell.experiment}: {', '.join(map(data_label, cell.data.split()))}, {seeds_label(cell.seeds)}, "
        f"{counted(cell.epochs, 'epoch')}"
        for cell in cells
        if cell.experiment and cell.seeds
    )
    return list(dict.fromkeys(texts))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    texts = (" | ".join(str(text).translate(MARKDOWN) for text in line) for line in lines)
    return "\n".join(f"| {text} |" for text in texts) if len(lines) > 2 else "(none)"


def latex_table(frame: pd.DataFrame, name: str, caption: str) -> str:
    """A table in LaTeX for the package booktabs; a long one also needs longtable. A column of sentences wraps."""
    wraps = [any(len(text) > LONG_TEXT for text in texts) for texts in frame.to_numpy().T]
    text: str = frame.to_latex(
        index=False,
        escape=True,
        longtable=len(frame) > LONG_TABLE,
        caption=caption.translate(READ_BY_LATEX),
        label=f"tab:{name}",
        column_format="".join(r"p{4cm}" if wrap else "l" for wrap in wraps),
    )
    return text.translate(ASCII)
