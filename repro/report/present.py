"""From cells to what a reader sees: formatted text, Markdown and LaTeX."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from repro.records import DIVERGED
from repro.report.cells import NONE, NOT_RUN, OURS, PAPER, WHOLE, is_number
from repro.report.labels import epochs_label, seeds_label

EMPTY = "–"
EVIDENCE = "runs, data, seeds, epochs"
EXACT = ("MiB", "ratio", "bits")  # the same for every seed: an interval would say nothing
EVIDENCE_GROUP = "Evidence"
LONG_TABLE, LONG_TEXT = 40, 60  # rows that still fit a page, characters that still fit a column
MARKDOWN = {"|": r"\|", "<": "&lt;", "\n": " "}
LATEX = {"±": r"$\pm$", "−": "$-$", "×": r"$\times$", "–": "--", "’": "'", "·": r"$\cdot$", "“": "``", "”": "''"}

Fields = dict[str, Any]


def show_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of a table as formatted text.

    Args:
        cells: A frame of ``cells.CELL_COLUMNS``.

    Returns:
        Text, indexed by (scale, row), with columns (group, column) in order of first appearance. A last
        column names the runs behind the measured cells, their data, seeds and epochs; where the groups
        have different runs, each group ends in such a column.
    """
    shown: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    columns: dict[str, dict[str, None]] = {}
    for cell in _fields(cells):
        texts = shown.setdefault((cell["scale"], cell["row"]), {})
        texts[cell["group"], cell["column"]] = format_cell(cell)
        columns.setdefault(cell["group"], {})[cell["column"]] = None
    for key, group, text in _evidence(cells):
        shown[key][group, EVIDENCE] = text
        columns.setdefault(group, {}).setdefault(EVIDENCE, None)
    order = [(group, column) for group, names in columns.items() for column in names]
    return pd.DataFrame(
        [[texts.get(key, EMPTY) for key in order] for texts in shown.values()],
        index=pd.MultiIndex.from_tuples(shown, names=["scale", "row"]),
        columns=pd.MultiIndex.from_tuples(order),
    )


def _evidence(cells: pd.DataFrame) -> list[tuple[tuple[str, str], str, str]]:
    """The runs behind each row: its key, the column group to say it in, and the text."""
    ours = cells[cells["source"] == OURS]
    by_group = [
        ((str(keys[0]), str(keys[1])), str(keys[2]), describe_runs(members))
        for keys, members in ours.groupby(["scale", "row", "group"], sort=False)
    ]
    texts: dict[tuple[str, str], set[str]] = {}
    for key, _, text in by_group:
        texts.setdefault(key, set()).add(text)
    if all(len(alike) == 1 for alike in texts.values()):
        return [(key, EVIDENCE_GROUP, text) for key, alike in texts.items() for text in alike]
    return by_group


def _fields(cells: pd.DataFrame) -> list[Fields]:
    return [{str(name): value for name, value in cell.items()} for cell in cells.to_dict("records")]


def format_cell(cell: Fields) -> str:
    """A cell as text: the number in its unit, then interval or standard error, n, and whether runs diverged."""
    if cell["status"] == NOT_RUN:
        return NOT_RUN
    if cell["unit"] == "text" or cell["status"] == NONE:
        return cell["note"] if isinstance(cell["note"], str) and cell["note"] else EMPTY
    text = _number(cell)
    remarks = [] if cell["source"] == PAPER or not is_number(cell["n"]) else [f"n = {cell['n']:.0f}"]
    if is_number(cell["standard_error"]):
        remarks.append(f"SE {cell['standard_error']:.2f}")
    if cell["status"] == DIVERGED:
        several = cell["n"] > 1
        remarks.insert(0, f"{cell['diverged']:.0f} of {cell['n']:.0f} diverged" if several else "diverged")
    return f"{text} ({', '.join(remarks)})" if remarks else text


def _number(cell: Fields) -> str:
    digits, unit = int(cell["digits"]), cell["unit"]
    value, low, high = cell["value"], cell["low"], cell["high"]
    if not is_number(value):
        if not is_number(low):
            return "no value"
        ends = [f"{end:.{digits}f}" for end in (low, high)]
        return ends[0] if ends[0] == ends[1] else "–".join(ends)
    if unit in WHOLE and float(value).is_integer() and cell["source"] != PAPER:
        digits = 0
    text = f"{value:{'+' if unit == 'points' else ''}.{digits}f}".replace("-", "−") + ("×" if unit == "ratio" else "")
    return f"{text} ± {value - low:.{max(digits, 1)}f}" if is_number(low) and unit not in EXACT else text


def describe_runs(cells: pd.DataFrame) -> str:
    """The runs behind measured cells, such as ``main_cifar10 · digits10 · seed 0 · 12 epochs``."""
    known = cells[cells["data"].notna() & ~cells["measure"].astype(str).str.contains(" - ")]
    texts = [
        f"{cell['experiment']} · {cell['data']} · {seeds_label(map(int, cell['seeds'].split()))} · "
        f"{epochs_label(int(cell['epochs']))}"
        for cell in _fields(known)
    ]
    return "; ".join(dict.fromkeys(texts)) or EMPTY


def header(shown: pd.DataFrame) -> list[tuple[str, str]]:
    """Group and name of each column of a shown comparison table."""
    return [(str(column[0]), str(column[1])) for column in shown.columns]


def to_markdown(shown: pd.DataFrame, title: str, caption: str) -> str:
    """A shown table as Markdown, with its title and caption."""
    return f"## {title}\n\n{caption}\n\n{markdown_table(shown)}\n"


def markdown_table(shown: pd.DataFrame) -> str:
    """A shown table as Markdown alone; text of a record can neither end a cell nor become HTML."""
    flat = _flat(shown)
    for text, safe in MARKDOWN.items():
        flat = flat.map(lambda cell, text=text, safe=safe: str(cell).replace(text, safe))
    return str(flat.to_markdown(index=False, disable_numparse=True)) if len(flat) else "(none)"


def to_latex(shown: pd.DataFrame, name: str, title: str, caption: str) -> str:
    """A shown table as LaTeX for the package booktabs; a long one also needs longtable."""
    frame = shown.reset_index() if shown.index.nlevels > 1 else shown
    text: str = frame.to_latex(
        index=False,
        escape=True,
        longtable=len(frame) > LONG_TABLE,
        caption=_escape_latex(f"{title}. {caption}"),
        label=f"tab:{name}",
        column_format="".join(map(_latex_column, frame.to_numpy().T)),
        multicolumn_format="c",
    )
    return _latex_characters(text)


def _latex_column(texts: Iterable[object]) -> str:
    """A column of sentences wraps; one of figures does not."""
    return r"p{4cm}" if max((len(str(text)) for text in texts), default=0) > LONG_TEXT else "l"


def figure_to_latex(name: str, title: str, caption: str) -> str:
    """A figure's PNG as LaTeX for the package graphicx, with caption and label."""
    lines = (
        r"\begin{figure}",
        r"\centering",
        rf"\includegraphics[width=\linewidth]{{{name}.png}}",
        rf"\caption{{{_escape_latex(f'{title}. {caption}')}}}",
        rf"\label{{fig:{name}}}",
        r"\end{figure}",
    )
    return _latex_characters("\n".join(lines) + "\n")


def _latex_characters(text: str) -> str:
    for character, command in LATEX.items():
        text = text.replace(character, command)
    return text


def _escape_latex(text: str) -> str:
    return "".join(f"\\{character}" if character in "%&_#$" else character for character in text)


def _flat(shown: pd.DataFrame) -> pd.DataFrame:
    """One header line, and the index as columns."""
    flat = shown.copy()
    if flat.columns.nlevels > 1:
        flat.columns = pd.Index([f"{group}: {column}" for group, column in header(shown)])
    return flat.reset_index() if flat.index.nlevels > 1 else flat
