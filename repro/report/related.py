"""Tables I, V and VI: related work, the phone and other machines, and sizes."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from repro.analysis import Architecture, Evidence, equivalence, estimate
from repro.paper import authors_log, read_logs, read_table
from repro.records import COMPLETED
from repro.report.cells import (
    BEST,
    LAST,
    NONE,
    NOT_RUN,
    OURS,
    Cell,
    cell_frame,
    in_unit,
    log_cell,
    our_cell,
    paper_cell,
    run_fields,
    text_cell,
)
from repro.report.parity import DERIVED, equivalence_words, test_fields
from repro.report.tables import MEASURED, RULES, THEIR_LOG, THEIRS

MEBIBYTE, MEGABYTE = 2**20, 10**6
AT_EPOCH = "ours, from epochs.csv and layers.csv"
ARITHMETIC = "Arithmetic (section III-E)"


def table1(evidence: Evidence) -> pd.DataFrame:
    """Related work: the paper's words, and what was measured of it."""
    paper = read_table("table1")
    names = [name for row in paper["rows"] for name in row["experiments"]]
    cells: list[Cell] = []
    for scale in evidence.scales_with(names):
        for row in paper["rows"]:
            key = {"scale": scale, "row": row["label"]}
            cells += [{**key, "group": THEIRS, **cell} for cell in _related(row)]
            cells += [{**key, "group": MEASURED, **cell} for cell in _our_related(evidence, scale, row)]
    return cell_frame(cells)


def _related(row: Mapping[str, Any]) -> list[Cell]:
    printed = row.get("values", {}).get("accuracy")
    accuracy = paper_cell(printed, "%", row["place"]) if printed else text_cell(row["accuracy"])
    words = {name: text_cell(row[name]) for name in ("hardware", "training", "parity")}
    return [
        {"column": "hardware", **words["hardware"], "place": row["place"]},
        {"column": "training", **words["training"], "place": row["place"]},
        {"column": "accuracy (%)", **accuracy, "place": row["place"]},
        {"column": "FP32 parity", **words["parity"], "place": row["place"]},
    ]


def _our_related(evidence: Evidence, scale: str, row: Mapping[str, Any]) -> list[Cell]:
    columns = [*(RULES[rule] for rule in (BEST, LAST)), "hardware", "FP32 parity, last epoch"]
    name, reference = row["experiments"][0], read_table("table2")["baseline"]
    runs, base = evidence.select(scale, name), evidence.select(scale, reference)
    machines = "; ".join(dict.fromkeys(runs["platform"]))
    about: Cell = {"source": OURS, "experiment": name, "unit": "text"}
    fields = {**run_fields(runs), "n": len(runs)} if len(runs) else {"status": NOT_RUN, "n": 0}
    test = equivalence(runs[LAST], base[LAST])
    parity = test_fields(runs, base, name, f"{LAST} against {reference}")
    return [
        *[{"column": RULES[rule], **our_cell(evidence, scale, name, rule, "%")} for rule in (BEST, LAST)],
        {"column": columns[2], **about, "measure": "platform", **fields, "note": machines},
        {"column": columns[3], **parity, "value": test.p_value, "note": equivalence_words(test)},
    ]


def table5(evidence: Evidence) -> pd.DataFrame:
    """The first six epochs on each machine that has records, beside the paper's phone and the authors' log."""
    paper = read_table("table5")
    cells: list[Cell] = []
    for scale in evidence.scales_with([paper["experiment"]]):
        machines = _machines(evidence, scale, paper["experiment"])
        for row in paper["rows"]:
            for platform, about in machines.items() or [("", None)]:
                label = f"epoch {row['epoch']}{f' · {platform}' if len(machines) > 1 else ''}"
                key = {"scale": scale, "row": label}
                cells += [{**key, **cell} for cell in _phone(row, paper["data"])]
                cells += [{**key, "group": MEASURED, **cell} for cell in _our_epoch(about, row["epoch"])]
    return cell_frame(cells)


Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def _machines(evidence: Evidence, scale: str, experiment: str) -> dict[str, Frames]:
    """Runs, epochs and layers of an experiment by the machine it ran on; repeats on other machines included."""

    def mine(*frames: pd.DataFrame) -> pd.DataFrame:
        rows = pd.concat([frame[(frame["scale"] == scale) & (frame["experiment"] == experiment)] for frame in frames])
        return rows

    runs = mine(evidence.runs, evidence.repeats)
    epochs, layers = mine(evidence.epochs, evidence.repeat_epochs), mine(evidence.layers, evidence.repeat_layers)
    found: dict[str, Frames] = {}
    for platform, rows in runs.groupby("platform", sort=False):
        on_it = [table[table["path"].isin(rows["path"])] for table in (epochs, layers)]
        found[str(platform)] = (rows.set_index("seed").sort_index(), on_it[0], on_it[1])
    return found


PHONE = {"train_accuracy": ("train accuracy (%)", "%"), "test_accuracy": ("test accuracy (%)", "%"),
         "levels_mean": ("levels in use, mean", "mean levels")}  # fmt: skip


def _phone(row: Mapping[str, Any], dataset: str) -> list[Cell]:
    """The paper's row, and the authors' log of the CIFAR-10 run at the same epoch."""
    log = authors_log(dataset).set_index("epoch").loc[row["epoch"]]
    images = read_logs()[dataset]["test_images"]
    theirs: list[Cell] = [
        {"group": f"{THEIRS} (phone)", "column": column, **paper_cell(row["values"][name], unit, row["place"])}
        for name, (column, unit) in PHONE.items()
    ]
    return theirs + [
        {"group": f"{THEIR_LOG} (CPU)", "column": column,
         **log_cell(float(log[name]), unit, images if name == "test_accuracy" else None)}
        for name, (column, unit) in PHONE.items()
    ]  # fmt: skip


def _our_epoch(frames: Frames | None, epoch: int) -> list[Cell]:
    experiment = read_table("table5")["experiment"]
    machine: Cell = {"column": "machine", "source": OURS, "experiment": experiment, "unit": "text"}
    words = "" if frames is None else str(frames[0]["platform"].iloc[0])
    fields = {"status": NOT_RUN, "n": 0} if frames is None else run_fields(frames[0])
    cells: list[Cell] = [{**machine, "measure": "platform", **fields, "note": words}]
    for name, (column, unit) in PHONE.items():
        about: Cell = {"column": column, "source": AT_EPOCH, "experiment": experiment, "unit": unit}
        about["measure"] = f"{name} at epoch {epoch}"
        if frames is None:
            cells.append({**about, "status": NOT_RUN, "n": 0})
            continue
        runs, epochs, layers = frames
        table = layers.groupby(["seed", "epoch"], as_index=False)["levels"].mean() if name == "levels_mean" else epochs
        at = table[table["epoch"] == epoch].set_index("seed")["levels" if name == "levels_mean" else name]
        images = float(runs["test_images"].min()) if name == "test_accuracy" else None
        cells.append({**about, **run_fields(runs), **in_unit(estimate(at.reindex(runs.index), images), unit)})
    return cells


def table6(evidence: Evidence) -> pd.DataFrame:
    """Sizes: as printed, by arithmetic, and of the models that were trained."""
    datasets = read_table("table6")["datasets"]
    cells: list[Cell] = []
    for scale in evidence.scales_with(about["experiment"] for about in datasets.values()):
        for about in datasets.values():
            for measure, words in SIZES.items():
                key = {"scale": scale, "row": f"{about['title']} in the paper: {words}"}
                cells += [{**key, **cell} for cell in _size(evidence, scale, about, measure)]
    return cell_frame(cells)


SIZES = {
    "parameters": "parameters",
    "fp32_bytes": "FP32 size",
    "paper_bytes": "4-bit size, as the paper counts",
    "packed_bytes": "4-bit size, really packed",
    "file_payload_bytes": "4-bit file (safetensors), without metadata",
    "file_bytes": "4-bit file (safetensors), whole",
    "onnx_bytes": "4-bit file (ONNX, INT4), whole",
    "paper_compression": "ratio, as the paper counts",
    "packed_compression": "ratio, really packed",
}
# Real files: the paper's size that stands beside each, and the arithmetic, which knows no header.
FILES = {
    "file_payload_bytes": ("paper_bytes", "packed_bytes"),
    "file_bytes": ("paper_bytes", ""),
    "onnx_bytes": ("paper_bytes", ""),
}


def _size(evidence: Evidence, scale: str, about: Mapping[str, Any], measure: str) -> list[Cell]:
    """One size, ratio or count: the paper's, by arithmetic, and ours, bytes in MiB and in MB."""
    in_paper, by_arithmetic = FILES.get(measure, (measure, measure))
    printed, place = about["values"].get(in_paper), about["place"]
    place = place if measure != "parameters" else "section III-E"
    exact = _arithmetic(by_arithmetic, about["classes"]) if by_arithmetic else math.nan
    if not measure.endswith("bytes"):
        unit, digits = ("ratio", 2) if measure.endswith("compression") else ("count", 0)
        ours = our_cell(evidence, scale, about["experiment"], measure, "ratio")
        # the same for every seed: no interval
        ours |= {"unit": unit, "digits": digits, "low": float("nan"), "high": float("nan")}
        ours |= {"source": DERIVED} if unit == "count" else {}
        return [
            {"group": THEIRS, "column": "as printed", **paper_cell(printed, unit, place)},
            {"group": ARITHMETIC, "column": "count or ratio", **_exact(exact, unit, digits)},
            {"group": MEASURED, "column": "count or ratio", **ours},
        ]
    ours = our_cell(evidence, scale, about["experiment"], measure, "MiB")
    decimal = dict(ours)
    if "value" in ours:
        decimal |= {"value": ours["value"] * MEBIBYTE / MEGABYTE, "low": float("nan"), "high": float("nan")}
    return [
        {"group": THEIRS, "column": "as printed", **paper_cell(printed, "MB", place)},
        {"group": ARITHMETIC, "column": "MiB", **_exact(exact / MEBIBYTE, "MiB", 3)},
        {"group": ARITHMETIC, "column": "MB", **_exact(exact / MEGABYTE, "MB", 3)},
        {"group": MEASURED, "column": "MiB", **ours, "digits": 3},
        {"group": MEASURED, "column": "MB", **decimal, "source": DERIVED, "unit": "MB", "digits": 3},
    ]


def _arithmetic(measure: str, classes: int) -> float:
    model = Architecture(classes)
    if measure.endswith("compression"):
        return model.fp32_bytes / float(getattr(model, measure.replace("compression", "bytes")))
    return float(getattr(model, measure))


def _exact(value: float, unit: str, digits: int) -> Cell:
    """A figure by arithmetic: no run and no uncertainty behind it; not a number where there is none."""
    if math.isnan(value):
        return {"source": "arithmetic", "status": NONE, "unit": unit}
    return {"source": "arithmetic", "status": COMPLETED, "value": value, "unit": unit, "digits": digits}
