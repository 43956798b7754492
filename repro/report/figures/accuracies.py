"""Accuracies: of every group of config.yaml that has no figure of its own, by bit width, and of all methods by bits."""

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from repro.config import Config, Experiment
from repro.paper import parse_printed, read_table
from repro.report.cells import our_cell
from repro.report.experiments import is_quantized, main_run, members, partner_of, row_titles
from repro.report.figures.dots import PAPER_MARK, Row, cell_lines, draw_cell, draw_dots, height_of, legend_of, our_marks
from repro.report.figures.plot import Drawing, Plot, canvas, nothing
from repro.report.figures.style import OURS_COLOR, PLAIN_COLOR
from repro.report.tables.groups import find_group, group_about
from repro.report.tables.methods import SIDE_BY_SIDE, compared
from repro.report.view import View
from repro.report.vocabulary import BEST, LAST, data_label

WRAP = 33  # characters of a line of labels
TITLES = {
    "anchor": "Accuracy in bfloat16 and in FP32",
    "baselines": "Other quantisers, beside the paper's and none",
    "formats": "Other weight formats, beside the paper's and none",
    "optimizers": "Accuracy by optimiser",
    "outlook": "Accuracy of what the paper leaves to the future",
    "ptq": "Quantised afterwards, beside trained at 4 bits and none",
    "quantizers": "Accuracy by quantiser",
    "rounding": "Accuracy by way of rounding",
    "schedules": "Accuracy by schedule",
}


def group_plot(config: Config, group: str) -> Plot:
    """The accuracies of a group's experiments, beside FP32 and the paper's method as lines."""
    return Plot(
        f"figure_{group}",
        TITLES.get(group, f"{group_about(group)[0]}: accuracy"),
        "Lines are the references after the last epoch. PTQ has one accuracy; weights that were trained again have one "
        "of their own, in the row's name: compare with that.",
        "Dot plot of test accuracy, one line an experiment, with a line at FP32 and one at the paper's method.",
        partial(_draw, group=group),
        lambda view: [member.name for member in members(view.config, group)],
    )


def _draw(view: View, group: str) -> Drawing:
    """A panel a data set."""
    own, references = find_group(view.config, group)
    titles, marks = row_titles(view, own), our_marks(view)
    panels: dict[str, list[Row]] = {}
    for member in own:
        if view.runs(member.name).empty:
            continue
        cells = {mark: our_cell(view, member.name, rule, "%") for mark, rule in zip(marks, (BEST, LAST), strict=True)}
        known = {mark: cell for mark, cell in cells.items() if cell.known}  # PTQ has one accuracy
        panels.setdefault(known[marks[1]].data, []).append((titles[member.name], known))
    every = [row for rows in panels.values() for row in rows]
    lines = [Line2D([], [], label=label, color=color, linewidth=1.1, linestyle=style)
             for label, color, style in REFERENCES.values()]  # fmt: skip
    heights = [(max(height_of(rows, WRAP), 0.4), 0.44 if data == list(panels)[-1] else 0.55, 1)
               for data, rows in panels.items()]  # fmt: skip
    figure, grid = canvas(heights or [(0.4, 0.4, 1)], left=1.85, legend=legend_of(every, lines))
    data_lines = []
    if not panels:
        nothing(grid[0][0])
    for [ax], (data, rows) in zip(grid, panels.items(), strict=False):
        draw_dots(ax, rows, wrap=WRAP)
        ax.set_xlabel("test accuracy (%)" if len(panels) == 1 else f"test accuracy (%), {data_label(data)}")
        for member in references:
            cell = our_cell(view, member.name, LAST, "%")
            if cell.known and cell.data == data:
                _, color, style = REFERENCES[is_quantized(member.settings)]
                ax.axvline(cell.value, color=color, linestyle=style, linewidth=1.1, alpha=0.8, zorder=0.5)
        ax.margins(x=0.08)
        data_lines += cell_lines(view, rows, data=data)
    return Drawing(figure, pd.DataFrame(data_lines))


REFERENCES: dict[bool, tuple[str, str, Any]] = {
    False: ("unquantised, last epoch", PLAIN_COLOR, "--"),
    True: ("4-bit, last epoch", OURS_COLOR, "-"),
}


MAIN_BITS, FP32_BITS = 4, 32


def _widths(view: View) -> dict[int, str]:
    """Experiments that differ from the main run in nothing but the bit width, by it; 32 is the unquantised one."""
    main = main_run(view.config, "cifar10")
    if main is None:
        return {}

    def rest(experiment: Experiment) -> tuple[bool, object]:
        quantizer = {key: value for key, value in experiment.settings["quantizer"].items() if key != "bit_width"}
        return experiment.fixed_epochs, {**experiment.settings, "quantizer": quantizer}

    found: dict[int, str] = {}
    for other in (main, *view.config.experiments.values()):
        if "bit_width" in other.settings["quantizer"] and rest(other) == rest(main):
            found.setdefault(int(other.settings["quantizer"]["bit_width"]), other.name)
    plain = partner_of(view.config, main)
    return dict(sorted(found.items())) | ({FP32_BITS: plain} if plain else {})


def _draw_widths(view: View) -> Drawing:
    """Bit widths along, accuracy up; the paper's accuracy beside runs on its data alone."""
    marks, rows = our_marks(view), []
    for bits, name in _widths(view).items():
        cells = [our_cell(view, name, rule, "%") for rule in (BEST, LAST)]
        if cells[0].known:
            rows.append((bits, name, dict(zip(marks, cells, strict=True))))
    labelled: list[Row] = [("none" if bits == FP32_BITS else f"{bits} bits", series) for bits, _, series in rows]
    beside = bool(rows) and rows[0][2][marks[0]].data == read_table("table2")["data"]
    extra = [PAPER_MARK.handle] if beside else []
    figure, [[ax]] = canvas([(1.7, 0.42, 1)], left=0.5, legend=legend_of(labelled, extra), columns=3)
    if not rows:
        nothing(ax)
        return Drawing(figure, pd.DataFrame(cell_lines(view, [])))
    for place, (_, series) in enumerate(labelled):
        for shift, mark in zip((-0.07, 0.07), marks, strict=True):
            draw_cell(ax, place + shift, mark, series[mark], upright=True)
    main = next((place for place, (bits, _, _) in enumerate(rows) if bits == MAIN_BITS), None)
    if beside and main is not None:
        ax.plot([main], [parse_printed(read_table("table3")["rows"][0]["values"]["cifar10"]).low], **PAPER_MARK.look)
    ax.xaxis.set_major_locator(FixedLocator(list(range(len(rows)))))
    ax.set_xticklabels([label for label, _ in labelled])
    ax.set(xlim=(-0.6, len(rows) - 0.4), ylabel="test accuracy (%)")
    ax.margins(y=0.12)
    return Drawing(figure, pd.DataFrame(cell_lines(view, labelled)))


BIT_WIDTHS = Plot(
    "bit_widths",
    "How many bits does the method need?",
    "Runs that differ in nothing but the bit width, and the same training without a quantiser at the right.",
    "Dot plot of test accuracy by bit width, FP32 at the right.",
    _draw_widths,
    lambda view: [name for bits, name in _widths(view).items() if bits not in (MAIN_BITS, FP32_BITS)],
)


def _draw_methods(view: View) -> Drawing:
    grid, mark = SIDE_BY_SIDE.grid(view), our_marks(view)[1]
    found = [
        (bits.value, cell.value, f"{row.label} ·\u00a0{bits.value:.2f}\u00a0bits", {mark: cell})
        for row, bits, cell in zip(grid.rows, grid.column("packed_bits"), grid.column(LAST), strict=True)
        if cell.known
    ]
    rows = [(label, series) for _, _, label, series in sorted(found, key=lambda entry: (-entry[0], -entry[1]))]
    figure, [[ax]] = canvas([(max(height_of(rows, 36), 0.4), 0.4, 1)], left=2.1, legend=legend_of(rows))
    draw_dots(ax, rows, wrap=36)
    ax.set_xlabel("test accuracy after the last epoch (%)")
    ax.margins(x=0.06)
    return Drawing(figure, pd.DataFrame(cell_lines(view, rows)))


METHODS = Plot(
    "accuracy_by_bits",
    "How much accuracy at how many bits?",
    "The main run's training under every method, the most bits a parameter first. One seed where no interval stands. "
    "Weights with an accuracy of their own were trained again: compare with that.",
    "Dot plot of test accuracy after the last epoch, one line a method, ordered by the bits a parameter in a file.",
    _draw_methods,
    lambda view: [experiment.name for experiment in compared(view.config)],
)
