"""Tables I and VI: related work, and sizes."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from repro.analysis import Architecture, equivalence
from repro.paper import read_table
from repro.report.cells import NOT_RUN, Cell, computed, our_cell, paper_cell, words
from repro.report.tables.accuracy import outcome
from repro.report.tables.columns import accuracy
from repro.report.tables.table import Column, Row, Table
from repro.report.view import View
from repro.report.vocabulary import ARITHMETIC, BEST, BY_ARITHMETIC, DERIVED, LAST, MEASURED, PAPER, THEIRS
from repro.units import UNITS


def _related_rows(view: View) -> Iterator[Row]:
    for row in read_table("table1")["rows"]:
        yield Row(row["label"], row["experiments"][0], read_table("table2")["baseline"], place=row["place"], data=row)


def _their_accuracy(view: View, row: Row) -> Cell:
    printed = row.data.get("values", {}).get("accuracy")
    return paper_cell(printed, "%", row.place) if printed else words(row.data["accuracy"], PAPER, row.place)


def _parity(view: View, row: Row) -> Cell:
    runs, base = view.runs(row.experiment), view.runs(row.reference)
    test = equivalence(runs[LAST], base[LAST])
    about = Cell(DERIVED, experiment=row.experiment or "", measure=f"{LAST} against {row.reference}")
    about = about.of(runs.loc[runs.index.intersection(base.index)])
    return replace(about, value=test.p_value, text=outcome(test))


def _word(key: str, title: str) -> Column:
    return Column(key, title, THEIRS, lambda view, row: words(row.data[key], PAPER, row.place))


TABLE1 = Table(
    "table1",
    "Table I: related 4-bit training work",
    "The rows of IBM, QLoRA and BitNet measure the weight format of that system on this model, trained from scratch, "
    "and not the system.",
    _related_rows,
    (
        _word("hardware", "hardware"),
        _word("training", "training"),
        Column("paper accuracy", "accuracy (%)", THEIRS, _their_accuracy),
        _word("parity", "FP32 parity"),
        accuracy(BEST),
        accuracy(LAST),
        Column("parity tested", "parity, last epoch", MEASURED, _parity),
    ),
)

# By column of the runs: its name, what the paper has beside it, and the arithmetic, which knows no file's header.
SIZES: Mapping[str, tuple[str, str, str]] = {
    "parameters": ("parameters", "parameters", "parameters"),
    "fp32_bytes": ("FP32 size", "fp32_bytes", "fp32_bytes"),
    "paper_bytes": ("4-bit size, as the paper counts", "paper_bytes", "paper_bytes"),
    "packed_bytes": ("4-bit size, really packed", "packed_bytes", "packed_bytes"),
    "file_payload_bytes": ("safetensors file, without metadata", "paper_bytes", "packed_bytes"),
    "file_bytes": ("safetensors file, whole", "paper_bytes", ""),
    "onnx_bytes": ("ONNX file, INT4, whole", "paper_bytes", ""),
    "paper_compression": ("ratio, as the paper counts", "paper_compression", "paper_compression"),
    "packed_compression": ("ratio, really packed", "packed_compression", "packed_compression"),
}


def _size_rows(view: View) -> Iterator[Row]:
    for about in read_table("table6")["datasets"].values():
        for measure, (label, _, _) in SIZES.items():
            place = about["place"] if measure != "parameters" else "section III-E"
            yield Row(f"{about['title']}: {label}", about["experiment"], None, about["values"], place,
                      data=(about["classes"], measure))  # fmt: skip


def _unit(measure: str, of_bytes: str) -> str:
    return of_bytes if measure.endswith("bytes") else "ratio" if measure.endswith("compression") else "count"


def _size_column(key: str, group: str, of_bytes: str, cell: Callable[[View, Row, str], Cell]) -> Column:
    """MiB or MB for sizes; ratios and counts stand in the first of the two."""

    def in_unit(view: View, row: Row) -> Cell:
        unit = _unit(row.data[1], of_bytes)
        found = cell(view, row, unit) if of_bytes == "MiB" or unit == "MB" else Cell(group, unit=unit)
        return replace(found, digits=3) if unit == "MiB" and found.status != NOT_RUN else found

    return Column(f"{key} {of_bytes}", of_bytes if of_bytes == "MB" else "MiB, ratio or count", group, in_unit)


def _printed(view: View, row: Row) -> Cell:
    _, measure = row.data
    return paper_cell(row.printed.get(SIZES[measure][1]), _unit(measure, "MiB"), row.place)


def _exact(view: View, row: Row, unit: str) -> Cell:
    classes, measure = row.data
    by_arithmetic = SIZES[measure][2]
    value = _arithmetic(by_arithmetic, classes) * UNITS[unit][0] if by_arithmetic else math.nan
    return computed(value, unit, ARITHMETIC)


def _arithmetic(measure: str, classes: int) -> float:
    model = Architecture(classes)
    if measure.endswith("compression"):
        return model.fp32_bytes / float(getattr(model, measure.replace("compression", "bytes")))
    return float(getattr(model, measure))


def _measured(view: View, row: Row, unit: str) -> Cell:
    return our_cell(view, row.experiment, row.data[1], unit)


TABLE6 = Table(
    "table6",
    "Table VI: how small is the model?",
    "The paper's MB are MiB, and it counts every parameter at 4 bits without scales. Packed and files: weights at "
    "4 bits, the rest in FP32. Arithmetic is for the full width.",
    _size_rows,
    (
        Column("paper", "as printed", THEIRS, _printed),
        _size_column("arithmetic", BY_ARITHMETIC, "MiB", _exact),
        _size_column("arithmetic", BY_ARITHMETIC, "MB", _exact),
        _size_column("ours", MEASURED, "MiB", _measured),
        _size_column("ours", MEASURED, "MB", _measured),
    ),
)
