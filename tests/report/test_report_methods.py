"""The tables of whole groups, and their figure: whatever is in config.yaml shows."""

import dataclasses

import pytest
import yaml
from report_factory import CONFIG

from repro.analysis import load_evidence
from repro.config import load_config
from repro.report import FIGURES, TABLES
from repro.report.method_figure import REFERENCE, method_points
from repro.report.methods import METHOD_GROUPS, partner_of
from repro.report.style import to_bytes
from repro.report.tables import RULES

BEST, LAST = (RULES[rule] for rule in ("best_test_accuracy", "final_test_accuracy"))
NEW = {
    "new_baseline": {
        "group": "baselines", "title": "A new $ baseline", "quantizer": {"name": "absmax", "bit_width": 7},
    },
    "new_format": {
        "group": "formats", "title": "A new format", "quantizer": {"name": "absmax_initial", "bit_width": 2},
    },
    "other_training": {
        "group": "formats", "title": "Another training", "batch_size": 64,
        "quantizer": {"name": "absmax_initial", "bit_width": 2},
    },
    "new_cifar100": {
        "group": "formats", "title": "A format on CIFAR-100", "dataset": {"name": "cifar100"},
        "quantizer": {"name": "absmax_initial", "bit_width": 3},
    },
}  # fmt: skip


@pytest.fixture
def with_new(factory, tmp_path):
    """Records as of a configuration with one experiment more in some groups."""
    raw = yaml.safe_load(CONFIG.read_text())
    raw["experiments"] |= NEW
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return dataclasses.replace(factory, config=load_config(tmp_path / "config.yaml"))


def evidence_of(factory):
    return load_evidence(factory.config, factory.results)


def shown(factory, group):
    entry = TABLES[f"methods_{group}"]
    return entry.show(entry.build(evidence_of(factory)))


def test_each_group_has_a_table_that_stands_without_records(factory):
    for group in METHOD_GROUPS:
        frame = shown(factory, group)
        assert frame.index.get_level_values("row")[:2].tolist() == ["FP32, same training", "4-bit, CIFAR-10"]
        assert set(frame["Measured here", BEST]) == {"not run"}


def test_a_new_experiment_shows_with_its_gap_levels_bits_and_size(with_new):
    for seed in (0, 1):
        with_new.write("fp32_cifar10", seed=seed, best=0.95 + 0.01 * seed)
        with_new.write("new_baseline", seed=seed, best=0.93)
    row = shown(with_new, "baselines").loc[("quick", "A new $ baseline")]
    assert row["Method", "weights"] == "absmax, 7 bits"
    assert row["Method", "activations"] == "FP32"
    assert row["Measured here", LAST].startswith("92.00 ± 0.00 (n = 2)")
    assert row["Measured here", "gap to FP32, last (points)"].startswith("2.50 ± ")
    assert row["Measured here", "bits a weight"] == "4 (n = 2)"  # as the factory's records say
    assert row["Measured here", "fewest levels at the end"] == "13 ± 0.0 (n = 2)"
    assert row["Measured here", "most levels"] == "15 ± 0.0 (n = 2)"
    assert row["Measured here", "packed (MiB)"] == "1.58 (n = 2)"
    plain = shown(with_new, "baselines").loc[("quick", "FP32, same training"), "Measured here"]
    assert plain["bits a weight"] == "32 (n = 2)"
    assert plain["most levels"] == "–"
    assert "A new $ baseline" not in shown(with_new, "formats").index.get_level_values("row")


def test_a_gap_refers_to_the_same_training_without_quantisation(with_new):
    experiments = with_new.config.experiments
    partners = {name: partner_of(with_new.config, experiments[name]) for name in NEW}
    assert partners == {
        "new_baseline": "fp32_cifar10", "new_format": "fp32_cifar10", "other_training": None,
        "new_cifar100": "fp32_cifar100",
    }  # fmt: skip
    with_new.write("other_training", best=0.9)
    row = shown(with_new, "formats").loc[("quick", "Another training"), "Measured here"]
    assert row["gap to FP32, best (points)"] == "no FP32 run of this training"


def test_what_a_run_quantises_is_read_from_its_settings_old_or_new(with_new):
    experiments = dict(with_new.config.experiments)
    base = experiments["new_baseline"]
    changes = {
        "ptq": {"quantizer": {"name": "none"}, "ptq": {"name": "mse", "bit_width": 4}},
        "inner": {"quantized_layers": "inner", "activation_quantizer": {"name": "pact", "bit_width": 4}},
        "qat": {"quantizer": {"name": "int8_qat"}},
    }
    for name, change in changes.items():
        settings = {**base.settings, **change}
        experiments[name] = dataclasses.replace(base, name=name, title=name, settings=settings)
    config = dataclasses.replace(with_new.config, experiments=experiments)
    assert partner_of(config, experiments["ptq"]) == "fp32_cifar10"  # the very run that it quantises
    evidence = dataclasses.replace(evidence_of(with_new), config=config)
    cells = TABLES["methods_baselines"].build(evidence).set_index(["row", "column"])["note"]
    assert cells["ptq", "weights"] == "PTQ: mse, 4 bits"
    assert cells["inner", "weights"] == "absmax, 7 bits; first and last layer FP32"
    assert cells["inner", "activations"] == "pact, 4 bits"
    assert (cells["qat", "weights"], cells["qat", "activations"]) == ("int8_qat", "8 bits")


def test_a_method_that_takes_no_part_at_a_scale_is_no_row_there(with_new):
    with_new.config.experiments["new_format"] = dataclasses.replace(
        with_new.config.experiments["new_format"], scales=("short",)
    )
    for scale in ("quick", "short"):
        with_new.write("nf4_cifar10", scale)
    rows = shown(with_new, "formats").index
    assert ("short", "A new format") in rows
    assert ("quick", "A new format") not in rows
    assert ("quick", "Another training") in rows


def test_the_figure_has_a_panel_a_scale_and_data_set_and_a_block_a_group(with_new):
    for name in ("fp32_cifar10", "main_cifar10", "new_baseline", "new_format", "new_cifar100"):
        with_new.write(name, "quick", best=0.9)
    with_new.write("new_baseline", "short", best=0.8)
    points = method_points(evidence_of(with_new))
    blocks = points.groupby("panel", sort=False)["block"].agg(lambda names: set(names) - {REFERENCE})
    titles = {group: title for group, (title, _) in METHOD_GROUPS.items()}
    assert blocks.tolist() == [{titles["baselines"]}, {titles["baselines"], titles["formats"]}, {titles["formats"]}]
    digits = points[points["panel"].str.contains("digits10 ")]
    assert len(digits[digits["block"] == REFERENCE]) == 4  # two references, two rules, each once
    assert "digits100" in points["panel"].iloc[-1]
    assert b"<svg" in to_bytes(FIGURES["figure_baselines"].draw(points), "svg")


def test_a_diverged_method_is_crossed_out_and_one_that_was_not_run_has_no_line(with_new):
    with_new.write("new_format", best=0.1, status="diverged")
    points = method_points(evidence_of(with_new))
    assert set(points["row"]) == {"A new format"}
    assert set(points["status"]) == {"diverged"}
    assert b"diverged" in to_bytes(FIGURES["figure_baselines"].draw(points), "svg")
