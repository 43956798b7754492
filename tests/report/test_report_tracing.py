"""From a cell of the page back to the record files, with nothing of the report's own code."""

import csv
import json
import random
import statistics

import pytest
from page_cells import PageTables
from repro.report.methods import METHOD_GROUPS

from repro.report import build_report

PICKS = 60
DIGITS = {"%": 2, "points": 2, "gap": 2, "MiB": 2, "ratio": 2, "levels": 1, "epoch": 1, "mean levels": 2,
          "ms": 2, "ppm": 2, "bits": 0}  # fmt: skip
FACTORS = {"%": 100, "points": 100, "gap": 100, "MiB": 2**-20, "ms": 1e3, "ppm": 1e6}


@pytest.fixture
def tables(factory, tmp_path):
    factory.write_all("quick", seeds=(0, 1))
    factory.write_all("short")
    factory.write("main_cifar10", "paper", 0, 0.92)
    factory.write("ablation_scale_fixed_3", "quick", 0, 0.1, status="diverged")
    return PageTables(build_report(factory.config, factory.results, tmp_path / "report").read_text())


def test_cells_picked_at_random_are_recomputed_from_the_records(factory, tables):
    folders = served_by(tables)
    traced = [cell for row in tables.rows for cell in row if "data-experiment" in cell.attributes]
    traced = [cell for cell in traced if cell.table != "table4"]  # its ranges of epochs: test_report_tables
    assert len(traced) > 3 * PICKS
    for cell in random.Random(5).sample(traced, PICKS):
        value = recompute(factory.results, folders, cell)
        assert float(cell.attributes["data-sort"]) == pytest.approx(value), cell
        assert number(cell.text) == pytest.approx(value, abs=0.5001 * 10 ** -DIGITS[cell.attributes["data-unit"]]), cell


def test_every_cell_of_the_real_files_is_recomputed_from_the_exports(factory, tables):
    folders = served_by(tables)
    sizes = ("file_bytes", "file_payload_bytes", "onnx_bytes")
    cells = [cell for row in tables.rows for cell in row if "data-experiment" in cell.attributes]
    cells = [cell for cell in cells if cell.table == "inference" or cell.attributes["data-measure"] in sizes]
    assert {cell.table for cell in cells} == {"inference", "table6"}
    assert len(cells) > 40
    for cell in cells:
        value = recompute(factory.results, folders, cell)
        assert float(cell.attributes["data-sort"]) == pytest.approx(value), cell
        digits = 3 if cell.table == "table6" else DIGITS[cell.attributes["data-unit"]]
        assert number(cell.text) == pytest.approx(value, abs=0.5001 * 10**-digits), cell


def test_every_measured_number_of_the_comparisons_names_its_runs(tables):
    comparisons = ("main", "table2", "table3", "table7", *(f"methods_{group}" for group in METHOD_GROUPS))
    cells = [
        cell for row in tables.rows for cell in row if cell.table in comparisons and "data-sort" in cell.attributes
    ]
    named = [{"data-experiment", "data-measure", "data-seeds", "data-unit"} & set(cell.attributes) for cell in cells]
    assert {len(origin) for origin in named} == {0, 4}  # none: the paper and the authors' log
    assert all(origin for cell, origin in zip(cells, named, strict=True) if "n\xa0=\xa02" in cell.text)


def served_by(tables):
    """The page's own list of runs: scale, experiment and seed to a folder of the records."""
    rows = [[cell.text for cell in row] for row in tables.rows if row and row[0].table == "runs"]
    return {(row[0], row[1], int(row[2])): row[3] for row in rows}


def recompute(results, folders, cell):
    about = cell.attributes
    measure, _, reference = about["data-measure"].partition(" - ")
    values = []
    for seed in (int(seed) for seed in about["data-seeds"].split()):
        value = figure(results / folders[cell.scale, about["data-experiment"], seed], measure)
        if reference:
            value -= figure(results / folders[cell.scale, reference, seed], measure)
        values.append(-value if about["data-unit"] == "gap" else value)
    return statistics.mean(values) * FACTORS.get(about["data-unit"], 1)


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
    if measure == "weight_bits":
        return round(8 * record["size"]["paper_bytes"] / record["summary"]["parameters"])
    if measure.startswith("final_levels_"):
        rows = [row for row in csv.DictReader((folder / "layers.csv").open()) if row["levels"]]
        last = max(int(row["epoch"]) for row in rows)
        levels = [float(row["levels"]) for row in rows if int(row["epoch"]) == last]
        return {"min": min, "max": max}[measure.removeprefix("final_levels_")](levels)
    part, _, name = measure.partition("_")
    if part in ("file", "onnx") and "seconds" not in measure:
        return json.loads((folder / "export.json").read_text())["packed" if part == "file" else "onnx"][name]
    variant, _, batch = measure.partition("_seconds_")
    if batch:
        return statistics.median(json.loads((folder / "export.json").read_text())["latency"]["seconds"][variant][batch])
    raise AssertionError(f"teach this test where the records hold {measure!r}")


def number(text):
    return float(text.replace("\xa0", " ").split()[0].rstrip("×").replace("−", "-"))
