"""The headline accuracies, table II's baselines, and full-precision parity as an equivalence test."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from repro.analysis import Equivalence, equivalence
from repro.analysis.equivalence import ALPHA, MARGIN, MOST_SEEDS, WANTED_POWER
from repro.paper import read_table
from repro.report.cells import NAN, Cell
from repro.report.experiments import title_of
from repro.report.tables.columns import accuracy, difference, logged, printed
from repro.report.tables.table import Column, Row, Table
from repro.report.text import number
from repro.report.view import View
from repro.report.vocabulary import BEST, DERIVED, LAST, MEASURED, RULES, VALIDATED, twin

PAIRS: Mapping[str, tuple[str, str]] = {
    "CIFAR-10": ("main_cifar10", "fp32_cifar10"),
    "CIFAR-100": ("main_cifar100", "fp32_cifar100"),
}


def _main_rows(view: View) -> Iterator[Row]:
    """Both data sets, 4-bit and FP32."""
    datasets, best = read_table("table3")["datasets"], read_table("table3")["rows"][0]
    last, fp32 = read_table("table3")["rows"][1]["values"], read_table("table2")["rows"][0]
    quoted: Mapping[str, str] = {read_table("table2")["baseline"]: fp32["values"]["accuracy"]}
    for name, about in datasets.items():
        main, plain = PAIRS[about["title"]]
        values = {"best": best["values"][name]} | ({"last": last[name]} if name in last else {})
        yield Row(f"4-bit, {about['title']}", main, None, values, best["place"], name)
        reads = {"best": quoted[plain]} if plain in quoted else {}
        yield Row(f"{view.plain_name}, {about['title']}", plain, None, reads, fp32["place"] if reads else "")


MAIN = Table(
    "main",
    "The headline accuracies",
    "4-bit training and the same training without a quantiser. The paper quotes its FP32 figure from elsewhere.",
    _main_rows,
    (
        printed("best", "best epoch (%)", "%"),
        printed("last", "last epoch (%)", "%"),
        logged(BEST, "best epoch (%)"),
        logged(LAST, "last epoch (%)"),
        *map(accuracy, RULES),
    ),
)


def _baseline_rows(view: View) -> Iterator[Row]:
    paper = read_table("table2")
    for row in paper["rows"]:
        for name in row["experiments"]:
            several = len(row["experiments"]) > 1
            label = f"{row['label']}: {title_of(view, name)}" if several else row["label"]
            yield Row(label, name, paper["baseline"], row["values"], row["place"], data=row["label"])


TABLE2 = Table(
    "table2",
    "Table II: accuracy against baselines, CIFAR-10",
    "The paper quotes its baselines without method or model, so each row has every reading that was run. "
    "Gap: FP32 with the same training minus the row; below zero the row is better.",
    _baseline_rows,
    (
        printed("accuracy", "accuracy (%)", "%"),
        printed("gap", "gap (points)", "gap"),
        accuracy(BEST),
        accuracy(LAST),
        difference(BEST, "gap, best", "gap"),
        difference(LAST, "gap, last", "gap"),
    ),
)


def test_of(view: View, row: Row) -> Equivalence:
    """The equivalence test of a parity row; its ``data`` is the rule of selection."""
    rule = row.data
    names = (row.experiment or "", row.reference or "")
    main, base = (view.runs(twin(name) if rule == VALIDATED else name) for name in names)
    return equivalence(main[rule], base[rule])


def _arm(side: str, title: str) -> Column:
    def cell(view: View, row: Row) -> Cell:
        return accuracy(row.data).cell(view, replace(row, experiment=getattr(row, side)))

    return Column(side, title, MEASURED, cell)


def _gap(view: View, row: Row) -> Cell:
    if row.data == VALIDATED:
        row = replace(row, experiment=twin(row.experiment or ""), reference=twin(row.reference or ""))
    return difference(row.data, "").cell(view, row)


def _tested(key: str, title: str, value: str, words: Callable[[Equivalence], str], *, aside: bool = False) -> Column:
    """A column of the equivalence test."""

    def cell(view: View, row: Row) -> Cell:
        test, gap = test_of(view, row), _gap(view, row)
        outcome = words(test) if gap.known else ""
        if gap.known and not outcome:
            return Cell(DERIVED)
        return replace(
            gap, source=DERIVED, unit="text", experiment=row.experiment or "", value=getattr(test, value),
            measure=f"{row.data} against {row.reference}", low=NAN, high=NAN, standard_error=NAN, text=outcome,
        )  # fmt: skip

    return Column(key, title, MEASURED, cell, aside)


def outcome(test: Equivalence) -> str:
    """Outcome of the two one-sided tests, such as ``yes, p = 0.012``."""
    if math.isnan(test.p_value):
        return no_test(test.difference.n)
    p = "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"
    return f"{'yes' if test.p_value < ALPHA else 'not shown'}, {p}"


def no_test(n: int) -> str:
    """Why there is no test."""
    return "" if n == 0 else "one seed" if n == 1 else "no spread"


def _power(test: Equivalence) -> str:
    return f"{100 * test.power:.0f} %" if math.isfinite(test.power) else ""


def _seeds(test: Equivalence) -> str:
    if math.isinf(test.seeds_needed):
        return f"over {MOST_SEEDS}"
    return "" if math.isnan(test.seeds_needed) else number(test.seeds_needed, 0)


def _parity_rows(view: View) -> Iterator[Row]:
    printed_gap = read_table("table2")["rows"][1]
    for title, (main, reference) in PAIRS.items():
        for rule, words in RULES.items():
            known = (title, rule) == ("CIFAR-10", BEST)  # the paper prints the gap of the best epoch alone
            values = {"gap": f"-{printed_gap['values']['gap']}"} if known else {}
            yield Row(f"{title}, {words}", main, reference, values, printed_gap["place"] if known else "", data=rule)


PARITY = Table(
    "parity",
    "Is 4-bit as good as full precision?",
    f"4-bit minus unquantised, two one-sided paired t-tests at {ALPHA:g} of ±{100 * MARGIN:g} points, a margin between "
    f"what the paper calls parity (0.16) and a gap (1.5). Power, and seeds for {100 * WANTED_POWER:.0f} %: in the CSV.",
    _parity_rows,
    (
        printed("gap", "difference", "points"),
        _arm("experiment", "4-bit (%)"),
        _arm("reference", "unquantised (%)"),
        Column("difference", "difference", MEASURED, _gap),
        _tested("parity", f"equal within {100 * MARGIN:g}?", "p_value", outcome),
        _tested("power", "power at this n", "power", _power, aside=True),
        _tested("seeds", "seeds needed", "seeds_needed", _seeds, aside=True),
    ),
    lambda view: [name for pair in PAIRS.values() for name in pair],
)
