"""What training and inference cost on each machine."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from repro.analysis import Architecture
from repro.paper import parse_printed, read_table
from repro.records import COMPLETED
from repro.records.export import BATCHES, VARIANTS
from repro.report.cells import NOT_RUN, Cell, computed, paper_cell
from repro.report.experiments import row_titles
from repro.report.tables.columns import measured
from repro.report.tables.table import Column, Row, Table
from repro.report.view import View
from repro.report.vocabulary import DERIVED, MEASURED, THEIRS, counted
from repro.units import UNITS

SECONDS_AN_HOUR = 3600
BY = ["platform", "precision", "torch_threads", "width"]


def paper_demand() -> Mapping[str, float]:
    """What "2.5 hours for 110 epochs" would need, evaluation not counted.

    Returns:
        ``hours``; ``images_per_second`` and ``flops_per_second`` to sustain.
    """
    paper = read_table("training_time")
    hours, epochs = (parse_printed(paper["values"][name]).low for name in ("hours", "epochs"))
    flops = float(Architecture(paper["classes"]).step_flops)
    rate = epochs * paper["train_images"] / (hours * SECONDS_AN_HOUR)
    return {"hours": hours, "images_per_second": rate, "flops_per_second": rate * flops}


def _machines(view: View) -> Iterator[Row]:
    """A row a machine, precision and number of threads; repeats on other machines included."""
    runs = view.with_repeats().drop_duplicates("path")
    runs = runs.dropna(subset=["train_images_per_second"])  # PTQ trains nothing
    place = f"{read_table('training_time')['place']}, by arithmetic"
    found = list(runs.groupby(BY, sort=False, dropna=False))
    for keys, group in found:
        yield Row(_label(keys), str(group["experiment"].iloc[0]), place=place, data=group.set_index("seed"))
    if not found:
        yield Row("any machine", None, place=place, data=runs)


def _label(keys: tuple[Any, ...]) -> str:
    platform, precision, threads, width = keys
    count = "" if math.isnan(threads) else f", {counted(threads, 'thread')}"
    return f"{platform or 'unknown machine'}, {precision}{count}{'' if width == 1 else f', width {width:g}'}"


def _rates(runs: pd.DataFrame) -> pd.Series:
    rates: pd.Series = runs["train_images_per_second"] * runs["step_flops_per_image"]
    return rates


def paper_hours(runs: pd.DataFrame) -> float:
    """Hours for the paper's epochs of its own model at the median rate of the runs; NaN without a rate."""
    median, demand = float(_rates(runs).median()), paper_demand()
    return demand["hours"] * demand["flops_per_second"] / median if median > 0 else math.nan


def _reached(key: str, title: str, unit: str, value: Callable[[pd.DataFrame], float], *, aside: bool = False) -> Column:
    """A figure over all runs of a machine, in the units of records."""

    def cell(view: View, row: Row) -> Cell:
        runs = row.data
        about = replace(Cell(DERIVED, unit=unit, measure=key).of(runs), digits=UNITS[unit][1])
        if about.status == NOT_RUN:
            return about
        return replace(
            about, status=COMPLETED, experiment=counted(len(runs), "run"), seeds=tuple(sorted(set(about.seeds))),
            value=value(runs) * UNITS[unit][0],
        )  # fmt: skip

    return Column(key, title, MEASURED, cell, aside)


def _range(view: View, row: Row) -> Cell:
    about = replace(Cell(DERIVED, unit="GFLOP/s", measure="flops_per_second").of(row.data), digits=0)
    rates = _rates(row.data) * UNITS["GFLOP/s"][0]
    return replace(about, low=rates.min(), high=rates.max(), n=0) if len(rates) else about


def _demand(key: str, unit: str) -> Callable[[View, Row], Cell]:
    return lambda view, row: replace(computed(paper_demand()[key] * UNITS[unit][0], unit, "paper"), place=row.place)


COST = Table(
    "cost",
    "Can a free CPU train it in 2.5 hours?",
    "Needed: 110 epochs of 50,000 images in 2.5 hours, forward and backward, evaluation left out. Measured: medians "
    "over a machine's runs; hours are those of the paper's 110 epochs of its own model at that rate.",
    _machines,
    (
        Column("paper hours", "hours", THEIRS,
               lambda view, row: paper_cell(read_table("training_time")["values"]["hours"], "h", row.place)),
        Column("paper rate", "images/s needed", THEIRS, _demand("images_per_second", "images/s"), aside=True),
        Column("paper flops", "GFLOP/s needed", THEIRS, _demand("flops_per_second", "GFLOP/s")),
        _reached("images_per_second", "images/s", "images/s",
                 lambda runs: float(runs["train_images_per_second"].median())),
        _reached("step_flops", "MFLOP an image", "MFLOP", lambda runs: float(runs["step_flops_per_image"].median()),
                 aside=True),
        _reached("flops_per_second", "GFLOP/s", "GFLOP/s", lambda runs: float(_rates(runs).median())),
        Column("range", "lowest to highest", MEASURED, _range, aside=True),
        _reached("paper_hours", "hours for 110 epochs", "h", lambda runs: paper_hours(runs) * SECONDS_AN_HOUR),
        _reached("wall_seconds", "hours run", "h",
                 lambda runs: float((runs["wall_seconds"] - runs["shared_seconds"]).sum())),  # shared epochs count once
    ),
    lambda view: view.config.experiments,
)  # fmt: skip

TITLES = dict(zip(VARIANTS, ("PyTorch FP32", "ONNX FP32", "ONNX INT8", "ONNX INT4", "ONNX, integers"), strict=True))
EXPECTED = ("main_cifar10", "fp32_cifar10")  # shown as "not run" where nothing was exported


def _inference_rows(view: View) -> Iterator[Row]:
    found = view.evidence.runs[view.evidence.runs["scale"] == view.scale].drop_duplicates("run")
    names = list(dict.fromkeys(found.loc[found["file_bytes"].notna(), "experiment"])) or EXPECTED
    titles = row_titles(view, [view.config.experiments[name] for name in names if name in view.config.experiments])
    for name in names:
        runs = view.runs(name)
        yield Row(titles.get(name, name), name, data=runs[runs["file_bytes"].notna()])


def _about(key: str, texts: Callable[[pd.DataFrame], list[str]], *, aside: bool = False) -> Column:
    def cell(view: View, row: Row) -> Cell:
        about = Cell(DERIVED, experiment=row.experiment or "", measure=key).of(row.data)
        return replace(about, text="; ".join(text for text in dict.fromkeys(texts(row.data)) if text))

    return Column(key, key, "ONNX file", cell, aside)


def _threads(runs: pd.DataFrame) -> list[str]:
    pairs = zip(runs["export_platform"], runs["export_threads"], strict=True)
    return [f"{platform}, {counted(count, 'thread')}" for platform, count in pairs]


INFERENCE = Table(
    "inference",
    "What do the real 4-bit files score, and how fast are they?",
    "Files that python -m repro export wrote and read back, at the last epoch. Milliseconds a call on a CPU: stored "
    "integers become FP32 again at every call, but for the last variant, which computes in them.",
    _inference_rows,
    (
        measured("file_test_accuracy", "safetensors", group="Test accuracy (%)"),
        measured("file_fp32_test_accuracy", "in FP32", group="Test accuracy (%)", aside=True),
        measured("onnx_test_accuracy", "ONNX", group="Test accuracy (%)"),
        measured("integer_test_accuracy", "ONNX, integers", group="Test accuracy (%)"),
        measured("onnx_logit_difference", "off by (ppm)", "ppm", group="ONNX file", aside=True),
        _about("weights", lambda runs: list(runs["onnx_weights"])),
        _about("machine", _threads, aside=True),
        *(measured(f"{variant}_seconds_{batch}", title, "ms", group=f"ms a call, batch {batch}",
                   aside=title == "ONNX INT8") for batch in BATCHES for variant, title in TITLES.items()),
    ),
)  # fmt: skip
