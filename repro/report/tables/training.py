"""Tables III, IV and V: the training's summary, its levels, and its first six epochs on each machine."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from repro.analysis import LevelRange, estimate, level_range, map_epochs
from repro.paper import authors_log, log_levels, log_summary, read_logs, read_table
from repro.report.cells import NOT_RUN, Cell, log_cell, our_cell, paper_cell
from repro.report.tables.table import Column, Row, Table
from repro.report.view import View
from repro.report.vocabulary import DERIVED, LOG, MEASURED, OURS, PAPER, THEIR_LOG, THEIRS


def _summary_rows(view: View) -> Iterator[Row]:
    for row in read_table("table3")["rows"]:
        unit = f" ({row['unit']})" if row["unit"] in ("%", "MiB") else ""
        yield Row(f"{row['label']}{unit}", place=row.get("place", ""), data=row)


def _summary(name: str, source: str) -> Column:
    about = read_table("table3")["datasets"][name]

    def cell(view: View, row: Row) -> Cell:
        unit, measure = row.data["unit"], row.data["measure"]
        if source == PAPER:
            return paper_cell(row.data.get("values", {}).get(name), unit, row.place)
        if source == LOG:
            images = read_logs()[name]["test_images"] if measure.endswith("test_accuracy") else None
            return log_cell(log_summary(name)[row.data["log"]] if "log" in row.data else None, unit, images)
        return our_cell(view, about["experiment"], measure, unit)

    title = {PAPER: "paper", LOG: "authors' log", OURS: "measured"}[source]
    return Column(f"{source} {name}", title, about["title"], cell)


TABLE3 = Table(
    "table3",
    "Table III: training summary",
    "The paper's MB are MiB, and its “final” train accuracy stands in the log at the best epoch. "
    "Packed: weights at 4 bits, the rest in FP32.",
    _summary_rows,
    [_summary(name, source) for name in read_table("table3")["datasets"] for source in (PAPER, LOG, OURS)],
    lambda view: [about["experiment"] for about in read_table("table3")["datasets"].values()],
)


def _level_rows(view: View) -> Iterator[Row]:
    paper = read_table("table4")
    for row in paper["rows"]:
        first, last = row["epochs"]
        label = f"epochs {first}–{last} of {len(authors_log(paper['data']))}"
        yield Row(label, paper["experiment"], None, row["values"], row["place"], paper["data"], (first, last))


def _levels(view: View, row: Row) -> LevelRange:
    runs = view.runs(row.experiment)
    epochs = int(runs["epochs"].max()) if len(runs) else len(authors_log(str(row.log)))
    first, last = row.data
    start, end = map_epochs(first, last, epochs, len(authors_log(str(row.log))))
    return level_range(view.frame("layers", row.experiment or ""), start, end)


def _level_column(measure: str, source: str) -> Column:
    unit = "mean levels" if measure == "mean" else "levels"

    def ours(view: View, row: Row) -> Cell:
        about = Cell(OURS, unit=unit, experiment=row.experiment or "", measure=measure).of(view.runs(row.experiment))
        if about.status == NOT_RUN:
            return about
        levels = _levels(view, row)
        if measure == "mean":
            return about.at(levels.mean)
        return replace(about, value=float(getattr(levels, measure)), n=levels.mean.n, digits=1)

    def cell(view: View, row: Row) -> Cell:
        if source == PAPER:
            return paper_cell(row.printed[measure], unit, row.place)
        return log_cell(log_levels(str(row.log), *row.data)[measure], unit) if source == LOG else ours(view, row)

    titles = {"minimum": "fewest", "maximum": "most", "mean": "mean"}
    group = {PAPER: THEIRS, LOG: THEIR_LOG, OURS: MEASURED}[source]
    return Column(f"{source} {measure}", titles[measure], group, cell)


def _epochs_read(view: View, row: Row) -> Cell:
    about = Cell(DERIVED, unit="epochs", experiment=row.experiment or "", measure="range").of(view.runs(row.experiment))
    levels = _levels(view, row)
    return about if about.status == NOT_RUN else replace(about, low=levels.first, high=levels.last, n=0)


TABLE4 = Table(
    "table4",
    "Table IV: levels in use, CIFAR-10",
    "Distinct integer codes of a layer, of 15 possible: fewest and most of any layer, epoch and seed, and the mean. "
    "A shortened run is read at the same share of its epochs.",
    _level_rows,
    (
        *[_level_column(m, s) for s in (PAPER, LOG, OURS) for m in ("minimum", "maximum", "mean")],
        Column("range", "epochs read", MEASURED, _epochs_read),
    ),
)


PHONE = {"train_accuracy": ("train (%)", "%"), "test_accuracy": ("test (%)", "%"),
         "levels_mean": ("levels", "mean levels")}  # fmt: skip


def _phone_rows(view: View) -> Iterator[Row]:
    """A row an epoch and machine, repeats on other machines included."""
    paper, evidence = read_table("table5"), view.evidence
    both = pd.concat([frame for frame in (evidence.runs, evidence.repeats) if len(frame)] or [evidence.runs])
    runs = both[(both["scale"] == view.scale) & (both["experiment"] == paper["experiment"])]
    machines = list(dict.fromkeys(runs["platform"])) or [""]
    for row in paper["rows"]:
        for machine in machines:
            label = f"epoch {row['epoch']}{f' on {machine}' if len(machines) > 1 else ''}"
            own = runs[runs["platform"] == machine].set_index("seed").sort_index()
            yield Row(label, paper["experiment"], None, row["values"], row["place"], paper["data"],
                      (row["epoch"], own), machine)  # fmt: skip


def _phone_printed(name: str) -> Column:
    title, unit = PHONE[name]
    return Column(f"paper {name}", title, f"{THEIRS} (phone)",
                  lambda view, row: paper_cell(row.printed[name], unit, row.place))  # fmt: skip


def _phone_logged(name: str) -> Column:
    title, unit = PHONE[name]

    def cell(view: View, row: Row) -> Cell:
        log = authors_log(str(row.log)).set_index("epoch").loc[row.data[0]]
        images = read_logs()[str(row.log)]["test_images"] if name == "test_accuracy" else None
        return log_cell(float(log[name]), unit, images)

    return Column(f"log {name}", title, f"{THEIR_LOG} (CPU)", cell)


def _phone_measured(name: str) -> Column:
    title, unit = PHONE[name]

    def cell(view: View, row: Row) -> Cell:
        epoch, runs = row.data
        about = Cell(DERIVED, unit=unit, experiment=row.experiment or "", measure=f"{name} at epoch {epoch}").of(runs)
        if runs.empty:
            return about
        images = float(runs["test_images"].min()) if name == "test_accuracy" else None
        return about.at(estimate(_at_epoch(view, row, name, epoch, runs), images))

    return Column(f"ours {name}", title, MEASURED, cell)


def _at_epoch(view: View, row: Row, name: str, epoch: int, runs: pd.DataFrame) -> pd.Series:
    """One figure a seed, from epochs.csv or layers.csv of the runs of one machine."""
    kind = "layers" if name == "levels_mean" else "epochs"
    repeats = {"epochs": view.evidence.repeat_epochs, "layers": view.evidence.repeat_layers}
    frames: list[Any] = [view.frame(kind, row.experiment or ""), repeats[kind]]
    rows = pd.concat([frame for frame in frames if len(frame)])
    rows = rows[rows["path"].isin(runs["path"]) & (rows["experiment"] == row.experiment) & (rows["epoch"] == epoch)]
    column = "levels" if kind == "layers" else name
    figures: pd.Series = rows.groupby("seed")[column].mean().reindex(runs.index)
    return figures


def _machine(view: View, row: Row) -> Cell:
    cell = Cell(DERIVED, experiment=row.experiment or "", measure="platform").of(row.data[1])
    return replace(cell, text=row.note) if row.note else cell


Phone = Callable[[str], Column]
_SOURCES: tuple[Phone, ...] = (_phone_printed, _phone_logged, _phone_measured)
TABLE5 = Table(
    "table5",
    "Table V: the first six epochs, on a phone and on each machine",
    "The log is that of the 150-epoch CPU run. A record of the same run from another machine has rows of its own here "
    "and stands in no other comparison.",
    _phone_rows,
    (*[source(name) for source in _SOURCES for name in PHONE], Column("machine", "machine", MEASURED, _machine)),
)
