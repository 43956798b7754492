"""What stands in the cells: from no record to several seeds, at one scale at a time."""

import csv
import dataclasses
import io
import json
import math
import statistics
from functools import cache

import pytest
import yaml
from report_factory import CONFIG
from tables_of import all_tables, drawing, grid, records_of, rows, shown, views

from repro.config import load_config
from repro.report import build_report
from repro.report.cells import Cell
from repro.report.text import cell_text
from repro.report.vocabulary import BEST, LAST, VALIDATED
from repro.units import UNITS

COMPARISONS = ("main", "table2", "table3", "table4", "table7")
MAIN = "4-bit, CIFAR-10"


def test_without_records_every_table_stands_and_says_not_run(factory):
    for name in COMPARISONS:
        assert [view.scale for view in views(factory, name)] == ["quick"]
        assert any("not run" in row.values() for row in shown(factory, name).values()), name
    assert shown(factory, "main")[MAIN]["paper best"] == "92.34"


def test_the_strongest_scale_comes_first_and_digits_only_where_they_are_all(factory):
    factory.write("main_cifar10", "quick")
    assert [view.scale for view in views(factory, "main")] == ["quick"]
    factory.write("main_cifar10", "short")
    assert [view.scale for view in views(factory, "main")] == ["short"]
    assert [view.scale for view in views(factory, "table7")] == ["short"]  # nothing run: still no digits
    factory.write("fp32_cifar10", "paper_bf16")
    factory.write("main_cifar10", "paper_bf16")
    factory.write("main_cifar10", "paper")
    order = [view.scale for view in views(factory, "main")]
    assert order == ["paper_bf16", "paper", "short"]  # of those that decide, the one with more of its runs


def test_a_cell_is_a_frozen_number_and_its_text_is_made_of_it():
    cell = Cell("ours", "completed", "%", 92.314, 92.1, 92.528, n=3, digits=2)
    assert cell_text(cell) == "92.31 ±0.21"
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.value = 1.0
    assert cell_text(dataclasses.replace(cell, unit="points", value=-0.004, low=math.nan, n=1)) == "0.00†"
    assert cell_text(Cell("paper", "completed", "%", low=90, high=91)) == "90–91"


def test_an_interval_appears_only_with_several_seeds(factory):
    factory.write("main_cifar10", seed=0, best=0.90)
    assert shown(factory, "main")[MAIN][BEST] == f"90.00 ({100 * math.sqrt(0.9 * 0.1 / 359):.2f})†"
    factory.write("main_cifar10", seed=1, best=0.91)
    factory.write("main_cifar10", seed=2, best=0.92)
    table = grid(factory, "main")
    assert rows(table)[MAIN][BEST] == "91.00 ±2.48"
    details = " ".join(table.details(0))
    assert "main_cifar10: digits10 (handwritten digits, not CIFAR), seeds 0, 1, 2, 12 epochs" in details


def test_a_diverged_run_is_shown_with_its_accuracy(factory):
    factory.write("ablation_full", best=0.9)
    factory.write("ablation_scale_fixed_3", best=0.11, status="diverged")
    row = shown(factory, "table7")["w/o per-layer scaling: fixed c = 3.0"]
    assert row[BEST].startswith("11.00 (")
    assert row[BEST].endswith("diverged†")
    assert row[f"points {BEST}"] == "−79.00 (2.29) diverged†"
    factory.write("ablation_scale_fixed_3", seed=1, best=0.5)
    row = shown(factory, "table7")["w/o per-layer scaling: fixed c = 3.0"]
    assert row[BEST].endswith("1 of 2 diverged")


def test_stale_and_unreadable_records_stand_in_no_table(factory):
    factory.write("main_cifar10", best=0.123, spec_hash="deadbeef")
    (factory.write("main_cifar100") / "record.json").write_text("{")
    for name in COMPARISONS:
        assert not [cell for cells in grid(factory, name).cells for cell in cells if cell.seeds]
    evidence = records_of(factory).evidence
    assert evidence.stale["spec_hash"].tolist() == ["deadbeef"]
    assert "not a readable record" in evidence.unreadable["error"].iloc[0]


def test_readings_of_an_undefined_row_are_marked(factory):
    table = grid(factory, "table7")
    row = rows(table)["w/o per-layer scaling: fixed c = 1.0"]
    assert row["paper accuracy"] == "84.1"
    assert row["paper difference"] == "−8.11"
    place = [each.label for each in table.rows].index("w/o per-layer scaling: fixed c = 1.0")
    assert any("one of 4 readings of “w/o Per-Layer Scaling”" in text for text in table.details(place))
    other = rows(table)["Hard clip at ±3 in place of tanh"]
    assert (other["paper accuracy"], other["paper difference"]) == ("–", "–")


def test_an_experiment_that_takes_no_part_at_a_scale_is_not_missing_there(factory):
    factory.write("ablation_full")
    label = "Hard clip at ±0.1, which binds"
    assert label not in shown(factory, "table7", "quick")
    assert label in shown(factory, "table7", "short")


def test_in_bfloat16_nothing_is_called_fp32(factory):
    factory.write("fp32_cifar10", "paper_bf16")
    factory.write("main_cifar10", "paper_bf16")
    names = [row.label for row in grid(factory, "main").rows]
    assert "Unquantised (bf16), CIFAR-10" in names
    assert "Unquantised (bf16), same training" in shown(factory, "group_baselines")
    assert "FP32, CIFAR-10" in shown(factory, "main", "paper")


def test_rows_and_columns_without_anything_leave_the_table_light(factory):
    factory.write("main_cifar10", "short")
    factory.write("schedule_restarts_cifar10", "short")
    table = grid(factory, "group_schedules")
    assert "One cosine over 150" in table.waiting
    assert "Warm restart at epoch 101" not in table.waiting
    keys = [table.columns[place].key for place in table.shown]
    assert VALIDATED not in keys  # in the CSV alone
    assert len(keys) <= 6


def with_new_ablation(factory, tmp_path):
    raw = yaml.safe_load(CONFIG.read_text())
    raw["experiments"]["ablation_new"] = {
        "group": "ablation", "title": "A new idea at $5", "epochs": 100, "gradient_clip": 0.25,
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return dataclasses.replace(factory, config=load_config(tmp_path / "config.yaml"))


def test_a_new_block_in_the_ablation_group_shows_in_table_and_figure(factory, tmp_path):
    factory = with_new_ablation(factory, tmp_path)
    factory.write("ablation_full", best=0.9)
    factory.write("ablation_new", best=0.95)
    assert shown(factory, "table7")["A new idea at $5"][f"points {BEST}"] == "+5.00 (1.96)†"
    drawn = drawing(factory, "ablation").data
    ours = drawn[(drawn["row"] == "A new idea at $5") & drawn["series"].str.contains("best")]
    assert ours["value"].tolist() == pytest.approx([5])
    page = build_report(factory.config, factory.results, tmp_path / "report").read_text()
    assert page.count("A new idea at $5") >= 2  # a row of the table and a label of the figure


def test_a_baseline_that_is_not_in_the_registry_yet_is_not_run(factory):
    others = {name: each for name, each in factory.config.experiments.items() if name != "qat8_cifar10"}
    config = dataclasses.replace(factory.config, experiments=others)
    row = shown(dataclasses.replace(factory, config=config), "table2")["8-bit QAT: qat8_cifar10"]
    assert (row["paper accuracy"], row[BEST]) == ("90–91", "not run")


def test_validated_accuracy_comes_from_the_twin(factory):
    factory.write("validated_main_cifar10", best=0.88)
    factory.write("main_cifar10", best=0.9)
    table = grid(factory, "main")
    assert rows(table)[MAIN][VALIDATED].startswith("86.00 (")
    assert any("validated_main_cifar10" in text for text in table.details(0))


def test_the_digits_have_a_table_of_their_own_beside_cifar(factory, tmp_path):
    factory.write("main_cifar10", "quick", best=0.987)
    factory.write("main_cifar10", "short", best=0.85)
    folder = build_report(factory.config, factory.results, tmp_path / "report").parent
    for path in (folder / "tables").glob("*.csv"):
        scales = {cell.get("scale") for cell in csv.DictReader(path.open())}
        if path.stem not in ("coverage", "runs", "claims", "stale", "unreadable", "failed"):
            assert ("quick" in scales) == (path.stem == "digits"), path.stem


def test_every_number_in_the_csv_tables_is_recomputed_from_the_records(factory, tmp_path):
    factory.write_all("short", seeds=(0, 1), by_default=True)
    factory.write("main_cifar10", "paper_bf16")
    build_report(factory.config, factory.results, tmp_path / "report")
    checked = sum(_recompute(factory, tmp_path, name) for name in COMPARISONS)
    assert checked > 150


def _recompute(factory, tmp_path, name):
    """Read the CSV and the JSON files with nothing of the report's own code."""
    paths = {(run.scale, run.experiment, run.seed): run.path for run in records_of(factory).evidence.runs.itertuples()}
    checked = 0
    for cell in csv.DictReader(io.StringIO((tmp_path / "report" / "tables" / f"{name}.csv").read_text())):
        if cell["source"] != "ours" or not cell["value"]:
            continue
        measure, _, reference = cell["measure"].partition(" - ")
        seeds = [int(seed) for seed in cell["seeds"].split()]
        values = [_figure(factory, paths[cell["scale"], cell["experiment"], seed], measure, cell) for seed in seeds]
        if reference:
            base = [_figure(factory, paths[cell["scale"], reference, seed], measure, cell) for seed in seeds]
            values = [a - b for a, b in zip(values, base, strict=True)]
            values = [-value for value in values] if cell["unit"] == "gap" else values
        combine = {"minimum": min, "maximum": max}.get(measure, statistics.mean)
        assert float(cell["value"]) == pytest.approx(combine(values) * UNITS[cell["unit"]][0]), cell
        assert int(float(cell["n"])) == len(seeds)
        checked += 1
    return checked


def test_ptq_stands_beside_the_accuracy_of_the_weights_that_it_took(factory):
    factory.write("fp32_cifar10", best=0.93)
    factory.write("ptq4_cifar10", best=0.90)
    gap = f"gap {LAST}"
    label = next(label for label, row in shown(factory, "table2").items() if row[gap].startswith("2.00"))
    factory.take_retrained("ptq4_cifar10", "quick", 0, "fp32_cifar10", 0.92)  # those of the record: its last epoch
    assert label in shown(factory, "table2")
    factory.take_retrained("ptq4_cifar10", "quick", 0, "fp32_cifar10", 0.935)
    assert any(row[gap].startswith("3.50") for row in shown(factory, "table2").values())
    assert "of weights with 93.50\N{NO-BREAK SPACE}%" in views(factory, "table2")[0].weights_taken("ptq4_cifar10")
    assert "of weights with 93.50\N{NO-BREAK SPACE}%" in "".join(rows(grid(factory, "group_ptq")))


@cache
def _files(folder):
    tables = [list(csv.DictReader((folder / name).open())) for name in ("epochs.csv", "layers.csv")]
    return json.loads((folder / "record.json").read_text()), *tables


def _figure(factory, path, measure, cell):
    record, epochs, layers = _files(factory.results / path)
    if measure in record["summary"]:
        return record["summary"][measure]
    if measure in record["size"]:
        return record["size"][measure]
    size, best = record["size"], record["summary"]["best_test_epoch"]
    layers = [row for row in layers if row["levels"]]
    if measure.endswith("compression"):
        return size["fp32_bytes"] / size[measure.replace("compression", "bytes")]
    if measure == "best_epoch_train_accuracy":
        return float(epochs[best - 1]["train_accuracy"])
    if measure == "best_epoch_levels_min":
        return min(float(row["levels"]) for row in layers if int(row["epoch"]) == best)
    first, last = _range(cell["row"], len(epochs))
    levels = [float(row["levels"]) for row in layers if first <= int(row["epoch"]) <= last]
    return {"minimum": min, "maximum": max, "mean": statistics.mean}[measure](levels)


def _range(row, epochs):
    """``epochs 25–50 of 150`` in epochs of the run, by another way than the report's integers."""
    first, last = (int(number) for number in row.split()[1].split("–"))
    start = math.floor((first - 1) / 150 * epochs + 1e-9) + 1
    return start, min(epochs, max(start, math.floor(last / 150 * epochs + 0.5 + 1e-9)))


def test_a_caption_has_two_lines_at_most_and_every_table_its_name(config):
    tables = all_tables(config)
    assert len(tables) > 14
    assert all(len(table.caption) <= 240 for table in tables.values())
