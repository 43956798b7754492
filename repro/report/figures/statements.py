"""The picture of the first screen: each main statement of the paper, its authors' log and ours on one axis."""

import math
from dataclasses import replace

import pandas as pd
from matplotlib.lines import Line2D

from repro.paper import log_summary, parse_printed, read_table
from repro.report.cells import Cell, log_cell, our_cell, our_difference, paper_cell
from repro.report.figures import dots
from repro.report.figures.dots import LOG_MARK, PAPER_MARK, Mark, Row, Rows, Series, our_marks
from repro.report.figures.plot import Drawing, Plot, canvas
from repro.report.figures.style import SOFT, THEIRS_COLOR
from repro.report.tables.accuracy import PAIRS
from repro.report.view import View
from repro.report.vocabulary import BEST, LAST
from repro.text import span


def _accuracies(view: View) -> Rows:
    """Both data sets, the quoted baselines and the ablation; of several readings each has its mark."""
    mark = replace(our_marks(view)[0], label="measured here")
    datasets, best = read_table("table3")["datasets"], read_table("table3")["rows"][0]
    rows: list[Row] = []
    for name, about in datasets.items():
        rows.append((f"4-bit, {about['title']}", {
            PAPER_MARK: paper_cell(best["values"][name], "%"),
            LOG_MARK: log_cell(log_summary(name), BEST, "%", name),
            mark: our_cell(view, about["experiment"], BEST, "%"),
        }))  # fmt: skip
    table2, table7 = read_table("table2")["rows"], read_table("table7")["rows"]
    shorter = {"FP32 VGG Baseline": "Unquantised, CIFAR-10", "DoReFa-Net (4-bit)": "DoReFa (4-bit)"}
    named = [(shorter.get(row["label"], row["label"]), row) for row in table2]
    named = [pair for pair in named if pair[1]["experiments"] != [datasets["cifar10"]["experiment"]]]
    named += [(row["label"].replace(" (no QAware mods)", ""), row) for row in table7]
    for label, row in named:
        readings = _readings(view, row, mark)
        several = f" ({len(readings)} {'methods' if row in table2 else 'readings'})" if len(readings) > 1 else ""
        rows.append((label + several, {PAPER_MARK: paper_cell(row["values"]["accuracy"], "%"), **readings}))
    twin = our_cell(view, PAIRS["CIFAR-100"][1], BEST, "%")
    rows.insert(3, ("Unquantised, CIFAR-100", {PAPER_MARK: paper_cell(None, "%"), mark: twin}))
    return [(label + _other_length(view, series), series) for label, series in rows]


def _other_length(view: View, series: Series) -> str:
    """The epochs of a row whose runs at a shortened scale are not as long as the main run: those do not compare."""
    main = our_cell(view, "main_cifar10", BEST, "%").epochs
    found = {cell.epochs for cell in series.values() if cell.epochs} - {main}
    return f" ({span(found, 'epoch')})" if found and main and not view.decides else ""


def _readings(view: View, row: dict[str, list[str]], mark: Mark) -> dict[Mark, Cell]:
    """A mark a reading: the first by itself, the others with the same look under numbered names."""
    cells = [our_cell(view, name, LAST if view.after_training(name) else BEST, "%") for name in row["experiments"]]
    known = [cell for cell in cells if cell.known] or cells[:1]
    return {replace(mark, label=mark.label + "\u200b" * place): cell for place, cell in enumerate(known)}


def _gaps(view: View) -> Rows:
    best, last = our_marks(view)
    marks = {replace(best, label="measured here"): BEST, replace(last, label="measured here, last epoch"): LAST}
    printed = parse_printed(read_table("table2")["rows"][1]["values"]["gap"]).low
    rows: list[Row] = []
    for title, (main, reference) in PAIRS.items():
        series = {mark: our_difference(view, main, reference, rule, "points") for mark, rule in marks.items()}
        paper = {PAPER_MARK: replace(paper_cell("0", "points"), value=-printed)} if title == "CIFAR-10" else {}
        rows.append((f"4-bit minus unquantised,\n{title}", {**paper, **series}))
    return rows


def _draw(view: View) -> Drawing:
    accuracies, gaps = dots.beside_digits(view, _accuracies(view)), dots.beside_digits(view, _gaps(view))
    bar = Line2D([], [], color=THEIRS_COLOR, linewidth=4, alpha=0.45, label="range the paper quotes")
    papers = [row[PAPER_MARK] for _, row in accuracies if PAPER_MARK in row]
    quoted = [bar] if any(cell.known and math.isnan(cell.value) for cell in papers) else []
    handles = [handle for handle in dots.legend_of([*accuracies, *gaps], quoted) if "\u200b" not in handle.get_label()]
    heights = [(0.195 * len(accuracies), 0.52, 1), (0.27 * len(gaps), 0.4, 1)]
    figure, [[top], [bottom]] = canvas(heights, left=1.85, legend=handles)
    dots.draw_dots(top, accuracies, wrap=40, shift=0.0)
    dots.draw_dots(bottom, gaps)
    top.set_xlabel("test accuracy, best epoch (%)")
    bottom.axvline(0, color=SOFT, linewidth=0.8)
    bottom.set_xlabel("points (squares: last epoch)")
    bottom.margins(x=0.15)
    data = pd.DataFrame(dots.cell_lines(view, accuracies, panel="accuracy") + dots.cell_lines(view, gaps, panel="gap"))
    return Drawing(figure, data.assign(series=data["series"].str.rstrip("\u200b")))


def _experiments(view: View) -> list[str]:
    tables = [*read_table("table2")["rows"], *read_table("table7")["rows"]]
    quoted = (name for row in tables for name in row["experiments"])
    return ["main_cifar10", *PAIRS["CIFAR-100"], *quoted]


STATEMENTS = Plot(
    "statements",
    "The paper's statements, its log, and what was measured",
    "Hollow: ours from shortened runs, which decide nothing, and what is not ours. Several marks in a row: several "
    "methods or readings. Pale blue bars, mostly under the marks: one standard error; thin ones: 95 % over seeds.",
    "Dot plot: one line for each main statement of the paper with the printed value, the log's and the measured one.",
    _draw,
    _experiments,
)
