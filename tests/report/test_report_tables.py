import csv
import dataclasses
import io
import json
import math
import statistics

import pytest
import yaml
from report_factory import CONFIG

from repro.analysis import load_evidence
from repro.config import load_config
from repro.report import TABLES, build_report
from repro.report.cells import UNITS
from repro.report.forest import ablation_points
from repro.report.tables import RULES, table7

BEST, LAST = (RULES[rule] for rule in ("best_test_accuracy", "final_test_accuracy"))
COMPARISONS = ("main", "table2", "table3", "table4", "table7")


def shown(factory, name):
    entry = TABLES[name]
    return entry.show(entry.build(load_evidence(factory.config, factory.results)))


def test_without_records_every_table_stands_and_says_not_run(factory):
    for name in COMPARISONS:
        frame = shown(factory, name)
        assert set(frame.index.get_level_values("scale")) == {"quick"}
        assert (frame == "not run").to_numpy().any(), name
    assert shown(factory, "main").loc[("quick", "4-bit, CIFAR-10 in the paper"), ("Paper", "accuracy (%)")] == "92.34"


def test_only_scales_with_evidence_appear(factory):
    factory.write("main_cifar10", "short")
    for name in ("main", "table2", "table3", "table4"):
        assert set(shown(factory, name).index.get_level_values("scale")) == {"short"}
    assert set(shown(factory, "table7").index.get_level_values("scale")) == {"quick"}  # nothing run: the configured one


def test_an_interval_appears_only_with_several_seeds(factory):
    key = ("quick", "4-bit, CIFAR-10 in the paper")
    factory.write("main_cifar10", seed=0, best=0.90)
    text = shown(factory, "main").loc[key, ("Measured here", BEST)]
    assert text == f"90.00 (n = 1, SE {100 * math.sqrt(0.9 * 0.1 / 359):.2f})"
    factory.write("main_cifar10", seed=1, best=0.91)
    factory.write("main_cifar10", seed=2, best=0.92)
    frame = shown(factory, "main")
    assert frame.loc[key, ("Measured here", BEST)] == "91.00 ± 2.48 (n = 3)"
    assert frame.loc[key, ("Evidence", "runs, data, seeds, epochs")] == (
        "main_cifar10 · digits10 · seeds 0, 1, 2 · 12 epochs"
    )


def test_a_diverged_run_is_shown_with_its_accuracy(factory):
    factory.write("ablation_full", best=0.9)
    factory.write("ablation_scale_fixed_3", best=0.11, status="diverged")
    frame = shown(factory, "table7")
    row = frame.loc[("quick", "w/o per-layer scaling: fixed c = 3.0"), "Measured here"]
    assert row[BEST].startswith("11.00 (diverged, n = 1")
    assert row["to full, best (points)"] == "−79.00 (diverged, n = 1)"
    factory.write("ablation_scale_fixed_3", seed=1, best=0.5)
    row = shown(factory, "table7").loc[("quick", "w/o per-layer scaling: fixed c = 3.0"), "Measured here"]
    assert "1 of 2 diverged, n = 2" in row[BEST]


def test_stale_and_unreadable_records_stand_in_no_table(factory):
    factory.write("main_cifar10", best=0.123, spec_hash="deadbeef")
    (factory.write("main_cifar100") / "record.json").write_text("{")
    for name in COMPARISONS:
        frame = TABLES[name].build(load_evidence(factory.config, factory.results))
        assert frame.loc[frame["source"] == "ours", "value"].isna().all()
    assert shown(factory, "stale")["spec hash"].tolist() == ["deadbeef"]
    assert "not a readable record" in shown(factory, "unreadable")["error"].iloc[0]


def test_the_list_of_runs_names_the_run_that_serves(factory):
    factory.write("main_cifar10")
    runs = shown(factory, "runs").set_index("experiment")
    assert runs.loc["schedule_as_run_cifar10", "served by"].startswith("quick/main_cifar10/seed0-")
    assert runs.loc["schedule_as_run_cifar10", "data"] == "digits10"


def test_readings_of_an_undefined_row_are_marked(factory):
    row = shown(factory, "table7").loc[("quick", "w/o per-layer scaling: fixed c = 1.0"), "Paper"]
    assert row["row"] == "reading of “w/o Per-Layer Scaling” (one of 4)"
    assert row["accuracy (%)"] == "84.1"
    assert row["to full (points)"] == "−8.11"
    assert shown(factory, "table7").loc[("quick", "Hard clip at ±3 in place of tanh"), "Paper"].tolist() == ["–"] * 3


def test_a_new_block_in_the_ablation_group_shows_in_table_and_figure(factory, tmp_path):
    raw = yaml.safe_load(CONFIG.read_text())
    raw["experiments"]["ablation_new"] = {
        "group": "ablation", "title": "A new idea at $5", "epochs": 100, "gradient_clip": 0.25,
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    config = load_config(tmp_path / "config.yaml")
    factory = dataclasses.replace(factory, config=config)
    factory.write("ablation_full", best=0.9)
    factory.write("ablation_new", best=0.95)
    evidence = load_evidence(config, factory.results)
    cells = table7(evidence).set_index(["row", "column"])
    assert cells.loc[("A new idea at $5", "to full, best (points)"), "value"] == pytest.approx(5)
    assert list(dict.fromkeys(table7(evidence)["row"]))[-1] == "A new idea at $5"
    points = ablation_points(evidence)
    assert points.loc[(points["row"] == "A new idea at $5") & (points["column"] == BEST), "value"].tolist() == [95]
    page = build_report(config, factory.results, tmp_path / "report").read_text()
    assert page.count("A new idea at $5") >= 2  # a row of the table and a label of the figure


def without(config, *names):
    return {name: experiment for name, experiment in config.experiments.items() if name not in names}


def test_a_baseline_that_is_not_in_the_registry_yet_is_not_run(factory):
    config = dataclasses.replace(factory.config, experiments=without(factory.config, "qat8_cifar10"))
    row = shown(dataclasses.replace(factory, config=config), "table2").loc[("quick", "8-bit QAT: qat8_cifar10")]
    assert row[("Paper", "accuracy (%)")] == "90–91"
    assert row[("Measured here", BEST)] == "not run"
    assert row[("Measured here", RULES["validated_test_accuracy"])] == "no twin run"


def test_validated_accuracy_comes_from_the_twin(factory):
    factory.write("validated_main_cifar10", best=0.88)
    factory.write("main_cifar10", best=0.9)
    row = shown(factory, "main").loc[("quick", "4-bit, CIFAR-10 in the paper")]
    assert row[("Measured here", RULES["validated_test_accuracy"])].startswith("86.00 (n = 1")
    assert "validated_main_cifar10 · digits10" in row[("Evidence", "runs, data, seeds, epochs")]


def test_every_number_in_the_csv_tables_is_recomputed_from_the_records(factory, tmp_path):
    factory.write_all("quick", seeds=(0, 1))
    factory.write_all("smoke")
    build_report(factory.config, factory.results, tmp_path / "report")
    checked = sum(_recompute(factory, tmp_path, name) for name in COMPARISONS)
    assert checked > 150


def _recompute(factory, tmp_path, name):
    """Read the CSV and the JSON files with nothing of the report's own code."""
    evidence = load_evidence(factory.config, factory.results)
    paths = {(run.scale, run.experiment, run.seed): run.path for run in evidence.runs.itertuples()}
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


def _figure(factory, path, measure, cell):
    folder = factory.results / path
    record = json.loads((folder / "record.json").read_text())
    if measure in record["summary"]:
        return record["summary"][measure]
    if measure in record["size"]:
        return record["size"][measure]
    size, best = record["size"], record["summary"]["best_test_epoch"]
    epochs = list(csv.DictReader((folder / "epochs.csv").open()))
    layers = [row for row in csv.DictReader((folder / "layers.csv").open()) if row["levels"]]
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
