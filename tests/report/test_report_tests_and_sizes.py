import csv
import json
import shutil

import pytest
from scipy import stats

from repro.analysis import load_evidence
from repro.paper import authors_log
from repro.report import TABLES
from repro.report.cost import paper_demand
from repro.report.related import AT_EPOCH

MINE = ("parity", "table1", "table5", "table6", "table7_tests", "cost")


def build(factory, name):
    return TABLES[name].build(load_evidence(factory.config, factory.results))


def shown(factory, name):
    return TABLES[name].show(build(factory, name))


def pick(frame, row, column):
    return frame[(frame["row"] == row) & (frame["column"] == column)].iloc[0]


@pytest.mark.parametrize("name", MINE)
def test_without_records_the_table_says_not_run_and_keeps_the_papers_side(factory, name):
    frame = build(factory, name)
    assert set(frame["scale"]) == {"quick"}
    assert (shown(factory, name) == "not run").to_numpy().any()
    if name != "table7_tests":
        assert ((frame["source"] == "paper") & (frame["status"] == "completed")).any()
    assert not frame.duplicated(["scale", "row", "group", "column"]).any()


@pytest.mark.parametrize("name", MINE)
def test_scales_are_never_mixed_and_places_are_unique(factory, name):
    factory.write_all("quick", seeds=(0, 1))
    factory.write_all("short")
    frame = build(factory, name)
    assert not frame.duplicated(["scale", "row", "group", "column"]).any()
    ours = frame[frame["data"].notna()]
    assert ours.loc[ours["scale"] == "short", "data"].str.startswith("cifar").all()
    assert ours.loc[ours["scale"] == "quick", "data"].str.startswith("digits").all()


def test_parity_with_one_seed_has_no_p_value_but_binomial_errors(factory):
    factory.write("main_cifar10", best=0.9)
    factory.write("fp32_cifar10", best=0.91)
    row = shown(factory, "parity").loc[("quick", "CIFAR-10 in the paper, last epoch"), "Measured here"]
    assert row["equivalent within 0.5 points?"] == "n = 1: no test"
    assert row["4-bit minus FP32 (points)"] == "−1.00 (n = 1)"
    assert "SE " in row["4-bit (%)"]
    assert row["power at this n"] == "–"


def test_parity_with_several_seeds_is_the_equivalence_test_of_the_records(factory):
    for seed, (ours, base) in enumerate([(0.9, 0.901), (0.902, 0.901), (0.903, 0.9035)]):
        factory.write("main_cifar10", seed=seed, best=ours)
        factory.write("fp32_cifar10", seed=seed, best=base)
    frame = build(factory, "parity")
    row = "CIFAR-10 in the paper, best epoch, chosen on the test set"
    differences = [-0.001, 0.001, -0.0005]
    expected = max(
        stats.ttest_1samp(differences, -0.005, alternative="greater").pvalue,
        stats.ttest_1samp(differences, 0.005, alternative="less").pvalue,
    )
    cell = pick(frame, row, "equivalent within 0.5 points?")
    assert cell["value"] == pytest.approx(expected)
    assert cell["note"] == f"p = {expected:.3f}: equivalent (n = 3)"
    assert pick(frame, row, "seeds for 80 % power")["value"] == 3
    assert 0.8 < pick(frame, row, "power at this n")["value"] <= 1


def test_validated_parity_compares_the_twins(factory):
    factory.write("validated_main_cifar10", best=0.9)
    factory.write("validated_fp32_cifar10", best=0.93)
    cell = pick(
        build(factory, "parity"), "CIFAR-10 in the paper, epoch chosen on validation", "4-bit minus FP32 (points)"
    )
    assert cell["value"] == pytest.approx(-3)


def test_the_ablations_p_values_are_corrected_over_those_that_could_be_tested(factory):
    for seed in (0, 1, 2):
        factory.write("ablation_full", seed=seed, best=0.9 + 0.001 * seed)
        factory.write("ablation_hard_clip", seed=seed, best=0.9 + 0.0015 * seed * seed)
        factory.write("ablation_no_gradient_clip", seed=seed, best=0.85 + 0.002 * seed)
    factory.write("ablation_standard_adamw", seed=0, best=0.8)
    frame = build(factory, "table7_tests")
    last = frame[frame["group"] == "Last epoch"]
    plain, corrected = (
        last[last["column"] == name].set_index("row")["value"] for name in ("paired t-test", "after Holm")
    )
    assert plain.notna().sum() == 2
    small, large = sorted(plain.dropna())
    assert sorted(corrected.dropna()) == pytest.approx([min(1, 2 * small), max(2 * small, large)])
    text = shown(factory, "table7_tests").loc[("quick", "Standard AdamW (neither clip)"), "Last epoch"]
    assert text["after Holm"] == "n = 1: no test"


def test_table_5_has_a_row_for_each_machine_and_each_number_is_in_the_csvs(factory):
    home = factory.write("mobile_cifar10", best=0.7)
    phone = factory.results / "quick" / "phone" / home.name
    shutil.copytree(home, phone)
    record = json.loads((phone / "record.json").read_text())
    record["environment"] |= {"architecture": "aarch64", "processor": "a phone"}
    (phone / "record.json").write_text(json.dumps(record))
    text = (phone / "epochs.csv").read_text().replace("0.7,", "0.6,")
    (phone / "epochs.csv").write_text(text)
    frame = build(factory, "table5")
    assert set(frame["row"]) == {f"epoch {e} · {m}" for e in (1, 3, 6) for m in ("a CPU", "aarch64 · a phone")}
    for folder, machine in ((home, "a CPU"), (phone, "aarch64 · a phone")):
        rows = {int(row["epoch"]): row for row in csv.DictReader((folder / "epochs.csv").open())}
        for epoch in (1, 3, 6):
            for name in ("train_accuracy", "test_accuracy"):
                column = f"{name.replace('_', ' ')} (%)"
                cells = frame[(frame["row"] == f"epoch {epoch} · {machine}") & (frame["column"] == column)]
                ours = cells[cells["source"] == AT_EPOCH].iloc[0]
                assert ours["value"] == pytest.approx(100 * float(rows[epoch][name]))
    log = authors_log("cifar10").set_index("epoch")
    theirs = frame[(frame["source"] == "authors' log") & (frame["column"] == "test accuracy (%)")]
    assert theirs.iloc[-1]["value"] == pytest.approx(100 * log.loc[6, "test_accuracy"])


def test_table_6_shows_mib_and_mb_of_arithmetic_and_record(factory):
    factory.write("main_cifar10", "paper")
    row = shown(factory, "table6").loc[("paper", "CIFAR-10 in the paper: 4-bit size, really packed")]
    assert row["Arithmetic (section III-E)", "MiB"] == "1.575"
    assert row["Arithmetic (section III-E)", "MB"] == "1.652"
    assert row["Measured here", "MiB"] == "1.575 (n = 1)"
    assert row["Measured here", "MB"] == "1.652 (n = 1)"
    parameters = shown(factory, "table6").loc[("paper", "CIFAR-100 in the paper: parameters")]
    assert parameters["Paper", "as printed"] == "3301468"
    assert parameters["Arithmetic (section III-E)", "count or ratio"] == "3297188"


def test_table_1_shows_the_papers_words_beside_what_was_measured_and_what_was_not_run(factory):
    factory.write("main_cifar10", best=0.9)
    frame = shown(factory, "table1")
    assert frame.loc[("quick", "QLoRA [6]"), ("Measured here", "last epoch (%)")] == "not run"
    assert frame.loc[("quick", "QLoRA [6]"), ("Paper", "FP32 parity")] == "N/A"
    ours = frame.loc[("quick", "Ours (the paper's)")]
    assert ours["Measured here", "last epoch (%)"].startswith("89.00 (n = 1")
    assert ours["Measured here", "FP32 parity, last epoch"] == "not run"


def test_the_papers_time_needs_what_arithmetic_says():
    demand = paper_demand()
    assert demand["images_per_second"] == pytest.approx(110 * 50_000 / 9000)
    assert demand["gflops"] == pytest.approx(565.7, abs=0.1)


def test_seconds_of_shared_epochs_count_once(factory):
    factory.write("main_cifar10")
    path = factory.write("ablation_full") / "record.json"
    record = json.loads(path.read_text())
    record["environment"]["shared"] = {"from": "quick/f107ce23/seed0", "epochs": 8, "wall_seconds": 40.0}
    path.write_text(json.dumps(record))
    frame = build(factory, "cost")
    (row,) = set(frame["row"])
    assert pick(frame, row, "wall hours, all runs")["value"] == pytest.approx((60 + 60 - 40) / 3600)


def test_cost_is_rate_times_flops_each_run_once(factory):
    factory.write("main_cifar10")  # serves two experiments
    factory.write("fp32_cifar10")
    frame = build(factory, "cost")
    (row,) = set(frame["row"])
    assert row == "a CPU · fp32 · width 0.25"
    cell = pick(frame, row, "GFLOP/s reached")
    assert (cell["n"], cell["value"]) == (2, pytest.approx(300 * 0.93))
    hours = pick(frame, row, "hours for the paper's epochs at this GFLOP/s")
    assert hours["value"] == pytest.approx(2.5 * paper_demand()["gflops"] / 279)
