"""The statistics, sizes, machines and costs of the tables."""

import csv
import json
import shutil

import pytest
from scipy import stats
from tables_of import grid, shown, views

from repro.paper import authors_log
from repro.report.tables.cost import paper_demand
from repro.report.vocabulary import LAST

MINE = ("parity", "table1", "table5", "table6", "cost")


def pick(factory, name, row, key):
    table = grid(factory, name)
    return table.column(key)[[each.label for each in table.rows].index(row)]


@pytest.mark.parametrize("name", MINE)
def test_without_records_the_table_says_not_run_and_keeps_the_papers_side(factory, name):
    table = grid(factory, name)
    assert [view.scale for view in views(factory, name)] == ["quick"]
    assert any("not run" in row.values() for row in shown(factory, name).values())
    assert any(cell.source == "paper" and cell.known for cells in table.cells for cell in cells)
    assert not table.frame().duplicated(["scale", "row", "group", "column"]).any()


@pytest.mark.parametrize("name", MINE)
def test_scales_are_never_mixed_and_places_are_unique(factory, name):
    for experiment in ("main_cifar10", "fp32_cifar10", "main_cifar100", "mobile_cifar10"):
        factory.write(experiment, "short")
        for seed in (0, 1):
            factory.write(experiment, "paper_bf16", seed)
    for scale in ("paper_bf16", "short"):
        frame = grid(factory, name, scale).frame()
        assert not frame.duplicated(["scale", "row", "group", "column"]).any()
        epochs = frame.loc[frame["seeds"] != "", "epochs"]
        assert len(epochs)
        assert (epochs >= 6).all() if scale == "short" else (epochs.max() >= 6)
        assert frame.loc[frame["seeds"] == "0 1", "scale"].isin(["paper_bf16"]).all()


def test_parity_with_one_seed_has_no_p_value_but_binomial_errors(factory):
    factory.write("main_cifar10", best=0.9)
    factory.write("fp32_cifar10", best=0.91)
    row = shown(factory, "parity")["CIFAR-10, last epoch"]
    assert row["parity"] == "one seed"
    assert row["difference"] == "−1.00 (2.29)†"
    assert row["experiment"].endswith(")†")
    assert row["power"] == "–"


def test_parity_with_several_seeds_is_the_equivalence_test_of_the_records(factory):
    for seed, (ours, base) in enumerate([(0.9, 0.901), (0.902, 0.901), (0.903, 0.9035)]):
        factory.write("main_cifar10", seed=seed, best=ours)
        factory.write("fp32_cifar10", seed=seed, best=base)
    differences = [-0.001, 0.001, -0.0005]
    expected = max(
        stats.ttest_1samp(differences, -0.005, alternative="greater").pvalue,
        stats.ttest_1samp(differences, 0.005, alternative="less").pvalue,
    )
    cell = pick(factory, "parity", "CIFAR-10, best epoch", "parity")
    assert cell.value == pytest.approx(expected)
    assert (cell.text, cell.seeds) == (f"yes, p = {expected:.3f}", (0, 1, 2))
    assert pick(factory, "parity", "CIFAR-10, best epoch", "seeds").value == 3
    assert 0.8 < pick(factory, "parity", "CIFAR-10, best epoch", "power").value <= 1


def test_validated_parity_compares_the_twins(factory):
    factory.write("validated_main_cifar10", best=0.9)
    factory.write("validated_fp32_cifar10", best=0.93)
    assert pick(factory, "parity", "CIFAR-10, chosen on validation", "difference").value == pytest.approx(-3)


def test_the_ablations_p_values_are_corrected_over_those_that_could_be_tested(factory):
    for seed in (0, 1, 2):
        factory.write("ablation_full", seed=seed, best=0.9 + 0.001 * seed)
        factory.write("ablation_hard_clip", seed=seed, best=0.9 + 0.0015 * seed * seed)
        factory.write("ablation_no_gradient_clip", seed=seed, best=0.85 + 0.002 * seed)
    factory.write("ablation_standard_adamw", seed=0, best=0.8)
    table = grid(factory, "table7")
    plain, corrected = (
        [cell.value for cell in table.column(f"{kind} {LAST}") if cell.unit == "p"] for kind in ("p", "holm")
    )
    assert len(plain) == 2
    small, large = sorted(plain)
    assert sorted(corrected) == pytest.approx([min(1, 2 * small), max(2 * small, large)])
    assert shown(factory, "table7")["Standard AdamW (neither clip)"][f"holm {LAST}"] == "one seed"


def test_table_5_has_a_row_for_each_machine_and_each_number_is_in_the_csvs(factory):
    home = factory.write("mobile_cifar10", best=0.7)
    phone = factory.results / "quick" / "phone" / home.name
    shutil.copytree(home, phone)
    record = json.loads((phone / "record.json").read_text())
    record["environment"] |= {"architecture": "aarch64", "processor": "a phone"}
    (phone / "record.json").write_text(json.dumps(record))
    text = (phone / "epochs.csv").read_text().replace("0.7,", "0.6,")
    (phone / "epochs.csv").write_text(text)
    table = grid(factory, "table5")
    labels = [row.label for row in table.rows]
    assert set(labels) == {f"epoch {e} on {m}" for e in (1, 3, 6) for m in ("a CPU", "aarch64 · a phone")}
    for folder, machine in ((home, "a CPU"), (phone, "aarch64 · a phone")):
        lines = {int(row["epoch"]): row for row in csv.DictReader((folder / "epochs.csv").open())}
        for epoch in (1, 3, 6):
            for name in ("train_accuracy", "test_accuracy"):
                cell = table.column(f"ours {name}")[labels.index(f"epoch {epoch} on {machine}")]
                assert cell.value == pytest.approx(100 * float(lines[epoch][name]))
    log = authors_log("cifar10").set_index("epoch")
    assert table.column("authors' log test_accuracy")[-1].value == pytest.approx(100 * log.loc[6, "test_accuracy"])


def test_table_6_shows_mib_and_mb_of_arithmetic_and_record(factory):
    factory.write("main_cifar10", "paper")
    row = shown(factory, "table6")["CIFAR-10: 4-bit size, really packed"]
    assert (row["arithmetic MiB"], row["arithmetic MB"]) == ("1.575", "1.652")
    assert (row["ours MiB"], row["ours MB"]) == ("1.575", "1.652")
    parameters = shown(factory, "table6")["CIFAR-100: parameters"]
    assert (parameters["paper"], parameters["arithmetic MiB"]) == ("3,301,468", "3,297,188")


def test_table_1_shows_the_papers_words_beside_what_was_measured_and_what_was_not_run(factory):
    factory.write("main_cifar10", best=0.9)
    table = shown(factory, "table1")
    assert table["QLoRA [6]"][LAST] == "not run"
    assert table["QLoRA [6]"]["parity"] == "N/A"
    assert table["Ours (the paper's)"][LAST].startswith("89.00 (")
    assert table["Ours (the paper's)"]["parity tested"] == "not run"


def test_the_papers_time_needs_what_arithmetic_says():
    demand = paper_demand()
    assert demand["images_per_second"] == pytest.approx(110 * 50_000 / 9000)
    assert demand["flops_per_second"] / 1e9 == pytest.approx(565.7, abs=0.1)


def test_seconds_of_shared_epochs_count_once(factory):
    factory.write("main_cifar10")
    path = factory.write("ablation_full") / "record.json"
    record = json.loads(path.read_text())
    record["environment"]["shared"] = {"from": "quick/f107ce23/seed0", "epochs": 8, "wall_seconds": 40.0}
    path.write_text(json.dumps(record))
    hours = pick(factory, "cost", "a CPU, fp32, width 0.25", "wall_seconds")
    assert hours.value == pytest.approx((60 + 60 - 40) / 3600)


def test_cost_is_rate_times_flops_each_run_once(factory):
    factory.write("main_cifar10")  # serves two experiments
    factory.write("fp32_cifar10")
    row = "a CPU, fp32, width 0.25"
    cell = pick(factory, "cost", row, "flops_per_second")
    assert (cell.n, cell.value) == (2, pytest.approx(300 * 0.93))
    hours = pick(factory, "cost", row, "paper_hours").value
    assert hours == pytest.approx(2.5 * paper_demand()["flops_per_second"] / 1e9 / 279)
