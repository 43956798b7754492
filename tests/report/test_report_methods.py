"""All methods side by side, and what 4 bits cost under each optimiser."""

import dataclasses
import json

import pytest
from report_factory import CONFIG
from tables_of import drawing, grid, shown

from repro.config import load_config
from repro.config.registry import OPTIMIZERS
from repro.records import read_record
from repro.report.tables.methods import compared
from repro.report.vocabulary import LAST


def test_methods_of_the_main_training_stand_side_by_side_each_run_once(factory):
    names = [experiment.name for experiment in compared(factory.config)]
    assert names[0] == "fp32_cifar10"
    for name in ("main_cifar10", "bits2_cifar10", "lsq_w4_cifar10", "nf4_cifar10", "ptq4_gptq_cifar10",
                 "outlook_w4a4_cifar10", "quantizer_mxfp4_cifar10", "quantizer_gaussws_cifar10",
                 "rounding_adaround_cifar10", "rounding_rescomp_cifar10",
                 "rounding_gptq_analytic_cifar10"):  # fmt: skip
        assert name in names
    for name in ("main_cifar100", "ablation_full", "mobile_cifar10", "schedule_as_run_cifar10", "optimizer_adamw_w4",
                 "optimizer_lion_w4", "outlook_linear_cifar10", "outlook_vit_w4_cifar10",
                 "quantizer_statsq_annealed_cifar10",  # its training has another schedule
                 "published_lsq_w4a4_vgg_small"):  # fmt: skip
        assert name not in names


def test_what_is_quantised_its_bits_and_its_gap(factory):
    factory.write("fp32_cifar10", best=0.95)
    factory.write("main_cifar10", best=0.93)
    factory.write("ptq4_gptq_cifar10", best=0.9)
    for name in ("outlook_w4a4_cifar10", "qat8_cifar10"):
        factory.write(name)
    table = shown(factory, "side_by_side")
    assert {table[row]["kind"] for row in ("FP32, same training", "4-bit, CIFAR-10", "PTQ, 4-bit, GPTQ")} == {
        "nothing", "weights", "after training",
    }  # fmt: skip
    for row in ("W4A4, absmax of each batch", "8-bit QAT, weights and activations"):
        assert table[row]["kind"] == "weights and inputs"
    assert table["4-bit, CIFAR-10"]["packed_bits"] == f"{8 * 1651680 / 3251018:.2f}"
    assert table["FP32, same training"]["packed_bits"] == f"{8 * 13018820 / 3251018:.2f}"
    assert table["4-bit, CIFAR-10"][f"gap {LAST}"].startswith("2.00")


def test_methods_that_were_not_run_are_named_below_the_table(factory):
    factory.write("fp32_cifar10")
    factory.write("quantizer_gaussws_cifar10")
    table = grid(factory, "side_by_side")
    assert [table.rows[place].experiment for place in table.filled] == ["fp32_cifar10", "quantizer_gaussws_cifar10"]
    assert {"4-bit, CIFAR-10", "PTQ, 4-bit, GPTQ with ResComp"} <= set(table.waiting)
    assert len(table.waiting) == len(table.rows) - 2


def test_the_share_of_oscillating_weights_of_records_that_have_it(factory):
    path = factory.write("main_cifar10") / "record.json"
    assert shown(factory, "side_by_side")["4-bit, CIFAR-10"]["oscillating_share"] == "–"
    record = read_record(path)
    newer = dataclasses.replace(record, summary={**record.summary, "oscillating_share": 0.0421})
    path.write_text(json.dumps(dataclasses.asdict(newer)))
    assert shown(factory, "side_by_side")["4-bit, CIFAR-10"]["oscillating_share"].startswith("4.21")


def test_the_figure_has_the_most_bits_first(factory):
    for name, best in (("fp32_cifar10", 0.95), ("main_cifar10", 0.93), ("nf4_cifar10", 0.94)):
        factory.write(name, best=best)
    lines = drawing(factory, "accuracy_by_bits").data["row"].tolist()
    assert [line.partition(" ·")[0] for line in lines] == [
        "FP32, same training",
        "NF4, blocks of 64",
        "4-bit, CIFAR-10",
    ]
    assert lines[1].endswith("4.06\u00a0bits")


def test_each_optimiser_has_both_accuracies_and_their_gap(factory):
    factory.write("optimizer_lion_fp32", best=0.92)
    factory.write("optimizer_lion_w4", best=0.905)
    factory.write("fp32_cifar10", best=0.95)  # AdamW's, which the group shares
    table = shown(factory, "optimizers")
    assert len(table) == 16
    row = table["Lion, both clips"]
    assert row["plain"].startswith("91.00")
    assert row[LAST].startswith("89.50")
    assert row[f"gap {LAST}"].startswith("1.50")
    assert table["AdamW, both clips"]["plain"].startswith("94.00")
    assert table["AdamW, both clips"][f"gap {LAST}"] == "not run"
    assert all(entry.reference for entry in grid(factory, "optimizers").rows)


@pytest.mark.parametrize("group", ["optimizers"])
def test_every_optimiser_is_there_at_both_precisions_with_clips_and_without(group):
    config = load_config(CONFIG)
    members = [experiment for experiment in config.experiments.values() if experiment.group == group]
    kinds = {
        (m.settings["optimizer"]["name"], m.settings["optimizer"]["mup_base_width"], m.settings["quantizer"]["name"],
         m.settings["gradient_clip"], m.settings["weight_clip"]["name"]) for m in members
    }  # fmt: skip
    rules = [*((name, None) for name in OPTIMIZERS), ("adamw", 0.5)]
    assert kinds == {
        (*rule, quantizer, *clips)
        for rule in rules for quantizer in ("none", "absmax") for clips in ((0.5, "tanh"), (None, "none"))
    }  # fmt: skip
    assert len(members) == len(kinds)
