"""Tables III, IV and V: the training's summary, its levels, and its first six epochs on each machine."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from repro.analysis import LevelRange, estimate, level_range, map_epochs
from repro.paper import authors_log, log_levels, log_summary, read_table
from repro.report.cells import Cell, log_cell, our_cell, paper_cell
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
            return log_cell(log_summary(name), row.data.get("log", ""), unit, name)
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


LEVELS = {"minimum": ("fewest", "levels"), "maximum": ("most", "levels"), "mean": ("mean", "mean levels")}


def _level_column(measure: str, source: str) -> Column:
    title, unit = LEVELS[measure]

    def cell(view: View, row: Row) -> Cell:
        if source == PAPER:
            return paper_cell(row.printed[measure], unit, row.place)
        if source == LOG:
            return log_cell(log_levels(str(row.log), *row.data), measure, unit, str(row.log))
        about = Cell(OURS, unit=unit, experiment=row.experiment or "", measure=measure).of(view.runs(row.experiment))
        if not about.known:
            return about
        levels = _levels(view, row)
        if measure == "mean":
            return about.at(levels.mean)
        return replace(about, value=float(getattr(levels, measure)), n=levels.mean.n, digits=1)

    return Column(f"{source} {measure}", title, {PAPER: THEIRS, LOG: THEIR_LOG, OURS: MEASURED}[source], cell)


def _epochs_read(view: View, row: Row) -> Cell:
    about = Cell(DERIVED, unit="epochs", experiment=row.experiment or "", measure="range").of(view.runs(row.experiment))
    levels = _levels(view, row)
    return replace(about, low=levels.first, high=levels.last, n=0) if about.known else about


TABLE4 = Table(
    "table4",
    "Table IV: levels in use, CIFAR-10",
    "Distinct integer codes of a layer, of 15 possible: fewest and most of any layer, epoch and seed, and the mean. "
    "A shortened run is read at the same share of its epochs.",
    _level_rows,
    (
        *[_level_column(measure, source) for source in (PAPER, LOG, OURS) for measure in LEVELS],
        Column("range", "epochs read", MEASURED, _epochs_read),
    ),
)


# By column of the log: title, unit, and where a record has it.
PHONE = {
    "train_accuracy": ("train (%)", "%", "epochs", "train_accuracy"),
    "test_accuracy": ("test (%)", "%", "epochs", "test_accuracy"),
    "levels_mean": ("levels", "mean levels", "layers", "levels"),
}


def _phone_rows(view: View) -> Iterator[Row]:
    """A row an epoch and machine, repeats on other machines included."""
    paper = read_table("table5")
    runs = view.with_repeats()
    runs = runs[runs["experiment"] == paper["experiment"]]
    machines = list(dict.fromkeys(runs["platform"])) or [""]
    for row in paper["rows"]:
        for machine in machines:
            label = f"epoch {row['epoch']}{f' on {machine}' if len(machines) > 1 else ''}"
            own = runs[runs["platform"] == machine].set_index("seed").sort_index()
            yield Row(label, paper["experiment"], None, row["values"], row["place"], paper["data"],
                      (row["epoch"], own), machine)  # fmt: skip


def _phone_column(name: str, source: str) -> Column:
    title, unit, table, column = PHONE[name]

    def cell(view: View, row: Row) -> Cell:
        epoch, runs = row.data
        if source == PAPER:
            return paper_cell(row.printed[name], unit, row.place)
        if source == LOG:
            log = authors_log(str(row.log)).set_index("epoch").loc[epoch]
            return log_cell({name: float(log[name])}, name, unit, str(row.log))
        about = Cell(DERIVED, unit=unit, experiment=row.experiment or "", measure=f"{name} at epoch {epoch}").of(runs)
        if runs.empty:
            return about
        images = float(runs["test_images"].min()) if name == "test_accuracy" else None
        repeats = {"epochs": view.evidence.repeat_epochs, "layers": view.evidence.repeat_layers}
        frames = (view.frame(table, row.experiment or ""), repeats[table])
        lines = pd.concat([frame for frame in frames if len(frame)])
        own = lines["path"].isin(runs["path"]) & (lines["experiment"] == row.experiment) & (lines["epoch"] == epoch)
        return about.at(estimate(lines[own].groupby("seed")[column].mean().reindex(runs.index), images))

    group = {PAPER: f"{THEIRS} (phone)", LOG: f"{THEIR_LOG} (CPU)", OURS: MEASURED}[source]
    return Column(f"{source} {name}", title, group, cell)


TABLE5 = Table(
    "table5",
    "Table V: the first six epochs, on a phone and on each machine",
    "The log is that of the 150-epoch CPU run. A record of the same run from another machine has rows of its own here "
    "and stands in no other comparison.",
    _phone_rows,
    (
        *[_phone_column(name, source) for source in (PAPER, LOG, OURS) for name in PHONE],
        Column("machine", "machine", MEASURED, lambda view, row: Cell(
            DERIVED, text=row.note, experiment=row.experiment or "", measure="platform").of(row.data[1])),
    ),
)  # fmt: skip
