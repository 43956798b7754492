"""Table VII: every experiment of the group ablation beside the full method, with paired tests."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from repro.analysis import holm, paired_p_value
from repro.paper import parse_printed, read_table
from repro.records import COMPLETED
from repro.report.cells import NAN, Cell, paper_cell
from repro.report.experiments import members, row_titles
from repro.report.tables.accuracy import no_test
from repro.report.tables.columns import accuracy, difference, printed
from repro.report.tables.table import Column, Row, Table
from repro.report.view import View
from repro.report.vocabulary import BEST, DERIVED, LAST, MEASURED, THEIRS


def _rows(view: View) -> Iterator[Row]:
    paper = read_table("table7")
    known = {name: row for row in paper["rows"] for name in row["experiments"]}
    own = members(view.config, paper["group"])
    titles = row_titles(view, own)
    for member in own:
        row = known.get(member.name)
        if row is None:
            yield Row(titles[member.name], member.name, paper["reference"], note="not in the paper")
            continue
        readings = len(row["experiments"])
        note = f"one of {readings} readings of “{row['label']}”, which the paper does not define"
        yield Row(titles[member.name], member.name, paper["reference"], row["values"], row["place"],
                  note=note if readings > 1 else "")  # fmt: skip


def _printed_difference(view: View, row: Row) -> Cell:
    """By subtraction of what the paper prints."""
    accuracies = {each.experiment: each.printed.get("accuracy") for each in _rows(view)}
    full, own = accuracies.get(row.reference), row.printed.get("accuracy")
    if own is None or full is None or row.experiment == row.reference:
        return paper_cell(None, "points")
    value = parse_printed(own).low - parse_printed(full).low
    return replace(paper_cell(own, "points", f"{row.place} minus row 1"), value=value, digits=2)


@lru_cache(maxsize=8)
def _p_values(view: View, rule: str, corrected: bool) -> dict[str, float]:
    """By experiment; Holm's correction goes over all rows that could be tested."""
    own = members(view.config, read_table("table7")["group"])
    reference = view.runs(read_table("table7")["reference"])[rule]
    names = [member.name for member in own if member.takes_part(view.scale)]
    plain = [paired_p_value(view.runs(name)[rule], reference) for name in names]
    return dict(zip(names, holm(plain) if corrected else plain, strict=True))


def _tested(rule: str, title: str, *, corrected: bool, aside: bool) -> Column:
    def cell(view: View, row: Row) -> Cell:
        gap = difference(rule, "").cell(view, row)
        about = replace(gap, source=DERIVED, low=NAN, high=NAN, measure=f"{rule} against {row.reference}")
        if not gap.known:
            return about
        p = _p_values(view, rule, corrected)[row.experiment or ""]
        about = replace(about, status=COMPLETED, unit="p", value=p, digits=3)
        return replace(about, unit="text", text=no_test(gap.n)) if math.isnan(p) else about

    return Column(f"{'holm' if corrected else 'p'} {rule}", title, MEASURED, cell, aside)


TABLE7 = Table(
    "table7",
    "Table VII: what each component is worth",
    "Each run leaves one thing out; Δ is the row minus the full method over common seeds (the paper's by subtraction). "
    "p: paired t-test of the last epoch's Δ, corrected by Holm for all rows that could be tested.",
    _rows,
    (
        printed("accuracy", "accuracy (%)", "%"),
        Column("paper difference", "Δ (points)", THEIRS, _printed_difference),
        accuracy(BEST),
        accuracy(LAST),
        difference(BEST, "Δ, best", aside=True),
        difference(LAST, "Δ, last"),
        _tested(LAST, "p (Holm)", corrected=True, aside=False),
        _tested(LAST, "p, last", corrected=False, aside=True),
        _tested(BEST, "p, best (Holm)", corrected=True, aside=True),
        _tested(BEST, "p, best", corrected=False, aside=True),
    ),
)
