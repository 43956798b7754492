import csv

import pytest

from repro.config import load_config
from repro.paper import authors_log, log_levels, log_summary, parse_printed, read_logs, read_table
from repro.paper.values import FOLDER


def rows(dataset):
    with (FOLDER / f"authors_log_{dataset}.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_summary_of_the_log_equals_a_reading_of_its_csv(dataset):
    log, summary = rows(dataset), log_summary(dataset)
    best = max(log, key=lambda row: float(row["test_accuracy_pct"]))
    assert len(authors_log(dataset)) == len(log) == 150
    assert summary["best_test_epoch"] == int(best["epoch"])
    assert summary["best_test_accuracy"] * 100 == pytest.approx(float(best["test_accuracy_pct"]))
    assert summary["best_epoch_train_accuracy"] * 100 == pytest.approx(float(best["train_accuracy_pct"]))
    assert summary["best_epoch_levels_min"] == int(best["levels_min"])
    assert summary["final_test_accuracy"] * 100 == pytest.approx(float(log[-1]["test_accuracy_pct"]))
    assert summary["final_train_accuracy"] * 100 == pytest.approx(float(log[-1]["train_accuracy_pct"]))


@pytest.mark.parametrize(("first", "last"), [(1, 10), (25, 50), (75, 100), (88, 114)])
def test_levels_of_the_log_equal_a_reading_of_its_csv(first, last):
    part = [row for row in rows("cifar10") if first <= int(row["epoch"]) <= last]
    levels = log_levels("cifar10", first, last)
    assert levels["minimum"] == min(int(row["levels_min"]) for row in part)
    assert levels["maximum"] == max(int(row["levels_max"]) for row in part)
    assert levels["mean"] == pytest.approx(sum(float(row["levels_mean"]) for row in part) / len(part))


def test_the_logs_best_epochs_are_the_papers():
    table = {row["measure"]: row for row in read_table("table3")["rows"]}
    for dataset in read_logs():
        printed = parse_printed(table["best_test_accuracy"]["values"][dataset])
        assert printed.low == pytest.approx(log_summary(dataset)["best_test_accuracy"] * 100)
        assert table["best_test_epoch"]["values"][dataset] == str(int(log_summary(dataset)["best_test_epoch"]))


def test_printed_values_keep_digits_and_ranges():
    assert (parse_printed("99.90").low, parse_printed("99.90").digits) == (99.9, 2)
    assert (parse_printed("1.5–2.5").low, parse_printed("1.5–2.5").high) == (1.5, 2.5)
    with pytest.raises(ValueError, match="could not convert"):
        parse_printed("about 90")


def test_every_paper_value_has_its_place_and_parses():
    for name in ("table2", "table3", "table4", "table7"):
        for row in read_table(name)["rows"]:
            for printed in row.get("values", {}).values():
                assert parse_printed(printed).low <= parse_printed(printed).high
                assert row["place"]


def test_experiments_of_tables_3_4_and_7_exist():
    names = set(load_config(FOLDER.parents[1] / "config.yaml").experiments)
    assert {about["experiment"] for about in read_table("table3")["datasets"].values()} <= names
    assert read_table("table4")["experiment"] in names
    assert {name for row in read_table("table7")["rows"] for name in row["experiments"]} <= names
