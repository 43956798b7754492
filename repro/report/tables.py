"""The comparison tables. A new one is one function here and one line in ``registry.py``."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from repro.analysis import Evidence, level_range, map_epochs
from repro.config import Experiment
from repro.paper import authors_log, log_levels, log_summary, parse_printed, read_logs, read_table
from repro.records import COMPLETED
from repro.report.cells import (
    BEST,
    LAST,
    LOG,
    NONE,
    NOT_RUN,
    OURS,
    PAPER,
    VALIDATED,
    Cell,
    cell_frame,
    in_unit,
    log_cell,
    our_cell,
    our_difference,
    paper_cell,
    run_fields,
    text_cell,
)
from repro.report.labels import twin

THEIRS, THEIR_LOG, MEASURED = "Paper", "Authors' log", "Measured here"
RULES = {
    BEST: "best epoch, chosen on the test set (%)",
    LAST: "last epoch (%)",
    VALIDATED: "epoch chosen on validation (%)",
}


def _with_twins(names: Iterable[str]) -> list[str]:
    return [each for name in names for each in (name, twin(name))]


def _accuracies(evidence: Evidence, scale: str, experiment: str | None, rules: Iterable[str]) -> Iterator[Cell]:
    """Measured accuracy under each selection rule, side by side."""
    for rule in rules:
        yield {"group": MEASURED, "column": RULES[rule], **our_cell(evidence, scale, experiment, rule, "%")}


def main_table(evidence: Evidence) -> pd.DataFrame:
    """The paper's two headline accuracies and its FP32 baseline, beside the log and the records."""
    datasets = read_table("table3")["datasets"]
    best = read_table("table3")["rows"][0]
    fp32 = read_table("table2")["rows"][0]
    rows = [
        (f"4-bit, {about['title']} in the paper", about["experiment"], best["values"][name], best["place"], name)
        for name, about in datasets.items()
    ]
    baseline = read_table("table2")["baseline"]
    rows.append((f"{fp32['label']}, CIFAR-10 in the paper", baseline, fp32["values"]["accuracy"], fp32["place"], None))
    cells: list[Cell] = []
    for scale in evidence.scales_with(_with_twins(row[1] for row in rows)):
        for label, experiment, printed, place, log in rows:
            key = {"scale": scale, "row": label}
            cells.append({**key, "group": THEIRS, "column": "accuracy (%)", **paper_cell(printed, "%", place)})
            for rule in (BEST, LAST):
                value = log_summary(log)[rule] if log else None
                images = read_logs()[log]["test_images"] if log else None
                cells.append({**key, "group": THEIR_LOG, "column": RULES[rule], **log_cell(value, "%", images)})
            cells += [{**key, **cell} for cell in _accuracies(evidence, scale, experiment, RULES)]
    return cell_frame(cells)


def table2(evidence: Evidence) -> pd.DataFrame:
    """Accuracy against the baselines; ranges that the paper quotes from elsewhere are shown as such."""
    paper = read_table("table2")
    names = [name for row in paper["rows"] for name in row["experiments"]]
    cells: list[Cell] = []
    for scale in evidence.scales_with(_with_twins(names)):
        for row in paper["rows"]:
            for experiment in row["experiments"]:
                key = {"scale": scale, "row": _row_label(evidence, row, experiment)}
                for column, measure, unit in (("accuracy (%)", "accuracy", "%"), ("gap (points)", "gap", "gap")):
                    printed = paper_cell(row["values"].get(measure), unit, row["place"])
                    cells.append({**key, "group": THEIRS, "column": column, **printed})
                cells += [{**key, **cell} for cell in _accuracies(evidence, scale, experiment, RULES)]
                for rule, column in ((BEST, "gap, best (points)"), (LAST, "gap, last (points)")):
                    gap = our_difference(evidence, scale, experiment, paper["baseline"], rule, "gap")
                    cells.append({**key, "group": MEASURED, "column": column, **gap})
    return cell_frame(cells)


def row_titles(experiments: Iterable[Experiment]) -> dict[str, str]:
    """A title for each experiment by name; two blocks may share one, and a row needs its own."""
    members = list(experiments)
    titles = [member.title for member in members]
    return {
        member.name: member.title if titles.count(member.title) == 1 else f"{member.title} ({member.name})"
        for member in members
    }


def taking_part(experiments: Iterable[Experiment], scale: str) -> list[Experiment]:
    """Those of the experiments that have runs at a scale: the others are not missing there."""
    return [experiment for experiment in experiments if experiment.takes_part(scale)]


def _row_label(evidence: Evidence, row: Mapping[str, Any], experiment: str) -> str:
    """The paper's name of a row, with the experiment's title where several measure it."""
    if len(row["experiments"]) == 1:
        return str(row["label"])
    known = evidence.config.experiments.get(experiment)
    return f"{row['label']}: {known.title if known else experiment}"


def table3(evidence: Evidence) -> pd.DataFrame:
    """Both data sets' summary: accuracies, epochs, sizes and levels."""
    paper = read_table("table3")
    datasets, logs = paper["datasets"], read_logs()
    cells: list[Cell] = []
    for scale in evidence.scales_with(_with_twins(about["experiment"] for about in datasets.values())):
        for row in paper["rows"]:
            unit = row["unit"]
            shown = f"{row['label']} ({unit})" if unit in ("%", "MiB") else row["label"]
            for name, about in datasets.items():
                key = {"scale": scale, "row": shown, "group": f"{about['title']} in the paper"}
                printed = paper_cell(row.get("values", {}).get(name), unit, row.get("place", ""))
                value = log_summary(name)[row["log"]] if "log" in row else None
                images = logs[name]["test_images"] if row["measure"].endswith("test_accuracy") else None
                cells.append({**key, "column": PAPER, **printed})
                cells.append({**key, "column": LOG, **log_cell(value, unit, images)})
                ours = our_cell(evidence, scale, about["experiment"], row["measure"], unit)
                cells.append({**key, "column": OURS, **ours})
    return cell_frame(cells)


def table4(evidence: Evidence) -> pd.DataFrame:
    """Levels in use over ranges of epochs, mapped to the same share of a shortened run."""
    paper = read_table("table4")
    cells: list[Cell] = []
    for scale in evidence.scales_with([paper["experiment"]]):
        for row in paper["rows"]:
            first, last = row["epochs"]
            key = {"scale": scale, "row": f"epochs {first}–{last} of {len(authors_log(paper['data']))}"}
            log = log_levels(paper["data"], first, last)
            ours = _our_levels(evidence, scale, paper["experiment"], first, last)
            for measure in ("minimum", "maximum", "mean"):
                group = {**key, "group": measure.capitalize()}
                unit = "mean levels" if measure == "mean" else "levels"
                cells.append({**group, "column": PAPER, **paper_cell(row["values"][measure], unit, row["place"])})
                cells.append({**group, "column": LOG, **log_cell(log[measure], unit)})
                cells.append({**group, "column": OURS, **ours[measure]})
            cells.append({**key, "group": "Measured here", "column": "epochs of the run", **ours["range"]})
    return cell_frame(cells)


def _our_levels(evidence: Evidence, scale: str, experiment: str, first: int, last: int) -> dict[str, Cell]:
    measures = ("minimum", "maximum", "mean", "range")
    runs = evidence.select(scale, experiment)
    about: Cell = {"source": OURS, "experiment": experiment, "unit": "levels"}
    if runs.empty:
        return {name: {**about, "measure": name, "status": NOT_RUN, "n": 0} for name in measures}
    layers = evidence.layers
    layers = layers[(layers["scale"] == scale) & (layers["experiment"] == experiment)]
    epochs = int(runs["epochs"].max())
    levels = level_range(layers, *map_epochs(first, last, epochs, len(authors_log(read_table("table4")["data"]))))
    about = {**about, **run_fields(runs), "n": levels.mean.n}
    return {
        "minimum": {**about, "measure": "minimum", "value": levels.minimum, "digits": 1},
        "maximum": {**about, "measure": "maximum", "value": levels.maximum, "digits": 1},
        "mean": {**about, "measure": "mean", **in_unit(levels.mean, "mean levels")},
        "range": {
            **about, "measure": "range", "status": COMPLETED, "n": None, "unit": "epochs", "digits": 0,
            "low": levels.first, "high": levels.last,
        },
    }  # fmt: skip


def table7(evidence: Evidence) -> pd.DataFrame:
    """The ablation: every experiment of its group, whether the paper has it or not, in the order of config.yaml."""
    paper = read_table("table7")
    rows = {name: row for row in paper["rows"] for name in row["experiments"]}
    members = [e for e in evidence.config.experiments.values() if e.group == paper["group"]]
    names = [experiment.name for experiment in members]
    rules = [BEST, LAST] + [VALIDATED] * any(twin(name) in evidence.config.experiments for name in names)
    full = rows[paper["reference"]]["values"]["accuracy"]
    titles = row_titles(members)
    cells: list[Cell] = []
    for scale in evidence.scales_with(_with_twins(names)):
        for experiment in taking_part(members, scale):
            key = {"scale": scale, "row": titles[experiment.name]}
            cells += [{**key, "group": THEIRS, **cell} for cell in _paper_ablation(rows.get(experiment.name), full)]
            cells += [{**key, **cell} for cell in _accuracies(evidence, scale, experiment.name, rules)]
            for rule, column in ((BEST, "to full, best (points)"), (LAST, "to full, last (points)")):
                difference = our_difference(evidence, scale, experiment.name, paper["reference"], rule, "points")
                cells.append({**key, "group": MEASURED, "column": column, **difference})
    return cell_frame(cells)


def _paper_ablation(row: Mapping[str, Any] | None, full: str) -> list[Cell]:
    """The paper's row, its accuracy, and the difference to its full method by subtraction."""
    difference: Cell = {"source": PAPER, "status": NONE, "unit": "points"}
    name, printed, place = "", None, ""
    if row:
        readings = len(row["experiments"])
        name = f"reading of “{row['label']}” (one of {readings})" if readings > 1 else row["label"]
        printed, place = row["values"]["accuracy"], row["place"]
    if printed is not None and printed != full:
        value = parse_printed(printed).low - parse_printed(full).low
        difference |= {"status": COMPLETED, "value": value, "digits": 2, "place": f"{place} minus row 1"}
    return [
        {"column": "row", **text_cell(name)},
        {"column": "accuracy (%)", **paper_cell(printed, "%", place)},
        {"column": "to full (points)", **difference},
    ]
