"""Numbers that other projects publish: is the core that judges the paper a fair judge?"""

from collections.abc import Iterator

from repro.analysis import judge_published
from repro.paper import read_anchors
from repro.report.cells import Cell, computed, our_cell, words
from repro.report.tables.columns import accuracy
from repro.report.tables.table import Column, Row, Table
from repro.report.view import View
from repro.report.vocabulary import BEST, DERIVED, LAST, MEASURED, PUBLISHED

ELSEWHERE = "Published elsewhere"
TOLERANCE = round(100 * max(anchor.tolerance for anchor in read_anchors()), 2)


def _rows(view: View) -> Iterator[Row]:
    for anchor in read_anchors():
        note = f"{anchor.protocol}. The source does not say: {anchor.unknown}. Departs here: {anchor.differs}."
        yield Row(anchor.name, anchor.experiment, place=anchor.source, data=anchor, note=note)


def _difference(view: View, row: Row) -> Cell:
    ours = our_cell(view, row.experiment, LAST, "%")
    return computed(ours.value - 100 * row.data.accuracy, "points")


PUBLISHED_NUMBERS = Table(
    "published",
    "Does this core reach published numbers?",
    "Trainings of other projects on CIFAR-10, repeated by the core that trains the paper's: reached where the last "
    f"epoch is at most {TOLERANCE:g} points below, two standard errors of two accuracies on 10,000 images.",
    _rows,
    (
        Column("published", "published (%)", ELSEWHERE,
               lambda view, row: computed(100 * row.data.accuracy, "%", PUBLISHED)),
        accuracy(LAST),
        accuracy(BEST),
        Column("difference", "last less published", MEASURED, _difference),
        Column("verdict", "verdict", MEASURED,
               lambda view, row: words(judge_published(row.data, view.runs(row.experiment)), DERIVED)),
    ),
)  # fmt: skip
