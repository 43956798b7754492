"""From a cell of the page back to the record files, with nothing of the report's own code."""

import csv
import json
import random
import re
import statistics

import pytest
from page_cells import PageTables
from report_factory import CONFIG, RecordFactory

from repro.config import load_config
from repro.report import build_report

PICKS = 60
FACTORS = {"%": 100, "points": 100, "gap": 100, "MiB": 2**-20, "MB": 1e-6, "ms": 1e3, "ppm": 1e6}


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    return RecordFactory(load_config(CONFIG), tmp_path_factory.mktemp("traced") / "results")


@pytest.fixture(scope="module")
def tables(factory):
    for experiment in NAMES:
        for seed in (0, 1):
            factory.write(experiment, "short", seed, best=0.9 - 0.01 * NAMES.index(experiment) + 0.002 * seed)
    for seed in (0, 1):
        factory.export(factory.write("main_cifar10", "short", seed, 0.88 + 0.002 * seed), onnx=seed == 0)
    factory.write("main_cifar10", "paper", 0, 0.92)
    factory.write("fp32_cifar10", "quick", 0, 0.95)
    factory.write("ablation_scale_fixed_3", "short", 0, 0.1, status="diverged")
    return PageTables(build_report(factory.config, factory.results, factory.results.parent / "report").read_text())


NAMES = ("fp32_cifar10", "main_cifar100", "fp32_cifar100", "ablation_full", "ablation_no_weight_clip",
         "ablation_no_gradient_clip", "validated_main_cifar10", "qat8_cifar10", "dorefa_w4_cifar10", "ptq4_cifar10",
         "ptq4_gptq_cifar10", "ptq4_zero_rate_cifar10", "bits2_cifar10", "bits8_cifar10", "nf4_cifar10",
         "schedule_restarts_cifar10")  # fmt: skip


def test_cells_picked_at_random_are_recomputed_from_the_records(factory, tables):
    folders = served_by(tables)
    traced = [cell for row in tables.rows for cell in row if "data-experiment" in cell.attributes]
    traced = [cell for cell in traced if cell.table != "table4"]  # its ranges of epochs: test_report_tables
    assert len(traced) > 3 * PICKS
    assert {cell.scale for cell in traced} == {"short", "paper", "quick"}
    for cell in random.Random(5).sample(traced, PICKS):
        check(factory, folders, cell)


def check(factory, folders, cell):
    value = recompute(factory.results, folders, cell)
    assert float(cell.attributes["data-sort"]) == pytest.approx(value), cell
    digits = int(cell.attributes["data-digits"])
    assert number(cell.text) == pytest.approx(value, abs=0.5001 * 10**-digits), cell


def test_ptq_has_one_accuracy_and_its_gap_is_read_at_the_epoch_of_its_weights(factory, tables):
    folders = served_by(tables)
    rows = {row[0].text: row[1:] for row in tables.rows if row and row[0].table == "group_ptq"}
    [at_zero] = [row for name, row in rows.items() if name.startswith("PTQ at rate zero, 4-bit, per tensor")]
    [at_the_end] = [row for name, row in rows.items() if name.startswith("PTQ, 4-bit, per tensor")]
    for row, epoch in ((at_zero, " at epoch 6"), (at_the_end, "")):
        assert row[0].text == "–"  # no best epoch
        [gap] = [cell for cell in row if cell.attributes.get("data-unit") == "gap"]
        assert gap.attributes["data-measure"] == f"final_test_accuracy - fp32_cifar10{epoch}"
        check(factory, folders, gap)
    listed = {row[1].text: row for row in tables.rows if row and row[0].table == "runs" and row[0].text == "short"}
    assert {cell.text for cell in listed["ptq4_cifar10"]} >= {"–"}


def test_every_cell_of_the_real_files_is_recomputed_from_the_exports(factory, tables):
    folders = served_by(tables)
    sizes = ("file_bytes", "file_payload_bytes", "onnx_bytes")
    cells = [cell for row in tables.rows for cell in row if "data-experiment" in cell.attributes]
    cells = [cell for cell in cells if cell.table == "inference" or cell.attributes["data-measure"] in sizes]
    assert {cell.table for cell in cells} == {"inference", "table6"}
    assert len(cells) > 15
    for cell in cells:
        check(factory, folders, cell)


def test_every_measured_number_of_the_comparisons_names_its_runs(tables):
    comparisons = ("main", "table2", "table3", "table7", "group_baselines", "group_ptq", "group_formats")
    cells = [
        cell for row in tables.rows for cell in row if cell.table in comparisons and "data-sort" in cell.attributes
    ]
    named = [{"data-experiment", "data-measure", "data-seeds", "data-unit"} & set(cell.attributes) for cell in cells]
    assert {len(origin) for origin in named} == {0, 4}  # none: the paper, the authors' log and p-values
    assert all(origin for cell, origin in zip(cells, named, strict=True) if "†" in cell.text)


def served_by(tables):
    """The page's own list of runs: scale, experiment and seed to a folder of the records."""
    rows = [[cell.text for cell in row] for row in tables.rows if row and row[0].table == "runs"]
    return {(row[0], row[1], int(row[2])): row[3] for row in rows}


def recompute(results, folders, cell):
    about = cell.attributes
    measure, _, reference = about["data-measure"].partition(" - ")
    reference, _, epoch = reference.partition(" at epoch ")
    values = []
    for seed in (int(seed) for seed in about["data-seeds"].split()):
        value = figure(results / folders[cell.scale, about["data-experiment"], seed], measure)
        if reference:
            folder = results / folders[cell.scale, reference, seed]
            value -= accuracy_at(folder, int(epoch)) if epoch else figure(folder, measure)
        values.append(-value if about["data-unit"] == "gap" else value)
    return statistics.mean(values) * FACTORS.get(about["data-unit"], 1)


def accuracy_at(folder, epoch):
    rows = csv.DictReader((folder / "epochs.csv").open())
    return next(float(row["test_accuracy"]) for row in rows if int(row["epoch"]) == epoch)


def figure(folder, measure):
    record = json.loads((folder / "record.json").read_text())
    for part in ("summary", "size", "timing", "compute"):
        if measure in record[part]:
            return record[part][measure]
    if measure.endswith("_compression"):
        return record["size"]["fp32_bytes"] / record["size"][measure.replace("compression", "bytes")]
    best = record["summary"]["best_test_epoch"]
    if measure == "best_epoch_train_accuracy":
        rows = csv.DictReader((folder / "epochs.csv").open())
        return next(float(row["train_accuracy"]) for row in rows if int(row["epoch"]) == best)
    if measure == "best_epoch_levels_min":
        rows = csv.DictReader((folder / "layers.csv").open())
        return min(float(row["levels"]) for row in rows if int(row["epoch"]) == best and row["levels"])
    if measure == "packed_bits":
        return 8 * record["size"]["packed_bytes"] / record["summary"]["parameters"]
    if measure == "weight_bits":
        return round(8 * record["size"]["paper_bytes"] / record["summary"]["parameters"])
    if measure.startswith("final_levels_"):
        rows = [row for row in csv.DictReader((folder / "layers.csv").open()) if row["levels"]]
        last = max(int(row["epoch"]) for row in rows)
        levels = [float(row["levels"]) for row in rows if int(row["epoch"]) == last]
        return {"min": min, "max": max}[measure.removeprefix("final_levels_")](levels)
    part, _, name = measure.partition("_")
    if part in ("file", "onnx", "integer") and "seconds" not in measure:
        return json.loads((folder / "export.json").read_text())["packed" if part == "file" else part][name]
    variant, _, batch = measure.partition("_seconds_")
    if batch:
        return statistics.median(json.loads((folder / "export.json").read_text())["latency"]["seconds"][variant][batch])
    raise AssertionError(f"teach this test where the records hold {measure!r}")


def number(text):
    return float(re.match(r"[+−]?[\d,]*\.?\d+", text.strip())[0].replace("−", "-").replace(",", ""))
