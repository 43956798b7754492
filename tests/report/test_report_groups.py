"""Whatever group is in config.yaml has a table and a figure; the gap refers to the same training unquantised."""

import dataclasses

import pytest
import yaml
from report_factory import CONFIG
from tables_of import all_plots, all_tables, drawing, grid, rows, shown

from repro.config import load_config
from repro.report.experiments import partner_of
from repro.report.page.contents import contents
from repro.report.vocabulary import BEST, LAST

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
    "of_a_new_group": {"group": "my_group", "title": "Mine", "gradient_clip": 0.1},
}  # fmt: skip


@pytest.fixture
def with_new(factory, tmp_path):
    """Records as of a configuration with one experiment more in some groups, and a group more."""
    raw = yaml.safe_load(CONFIG.read_text())
    raw["experiments"] |= NEW
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return dataclasses.replace(factory, config=load_config(tmp_path / "config.yaml"))


def test_every_group_is_shown_somewhere(with_new):
    groups = {experiment.group for experiment in with_new.config.experiments.values()}
    shown_groups = [name for part in contents(with_new.config) for block in part.blocks for name in block.groups]
    assert sorted(shown_groups) == sorted(groups)
    assert "group_my_group" in all_tables(with_new.config)
    assert "figure_my_group" in all_plots(with_new.config)


def test_a_new_group_has_its_rows_in_table_and_figure(with_new):
    with_new.write("of_a_new_group", best=0.9)
    row = shown(with_new, "group_my_group")["Mine"]
    assert row[LAST].startswith("89.00 (")
    assert drawing(with_new, "figure_my_group").data["row"].unique().tolist() == ["Mine"]
    table = grid(with_new, "group_my_group")
    assert "gradient clip: 0.1" in table.details([row.label for row in table.rows].index("Mine"))


def test_each_group_has_a_table_that_stands_without_records(factory):
    for group in ("baselines", "bit_width", "formats", "ptq"):
        table = shown(factory, f"group_{group}")
        assert list(table)[:2] == ["FP32, same training", "4-bit, CIFAR-10"]
        assert {row[LAST] for row in table.values()} == {"not run"}


def test_a_new_experiment_shows_with_its_gap_levels_bits_and_size(with_new):
    for seed in (0, 1):
        with_new.write("fp32_cifar10", seed=seed, best=0.95 + 0.01 * seed)
        with_new.write("new_baseline", seed=seed, best=0.93)
    table = shown(with_new, "group_baselines")
    row = table["A new $ baseline"]
    assert row[LAST] == "92.00"
    assert row[f"gap {LAST}"].startswith("2.50 ±")
    assert row["weight_bits"] == "4"  # as the factory's records say
    assert row["final_levels_min"] == "13"
    assert row["final_levels_max"] == "15"
    assert row["packed_bytes"] == "1.58"
    assert table["FP32, same training"]["weight_bits"] == "32"
    assert table["FP32, same training"]["final_levels_max"] == "–"
    assert "A new $ baseline" not in shown(with_new, "group_formats")


def test_a_gap_refers_to_the_same_training_without_quantisation(with_new):
    experiments = with_new.config.experiments
    partners = {name: partner_of(with_new.config, experiments[name]) for name in NEW if name != "of_a_new_group"}
    assert partners == {
        "new_baseline": "fp32_cifar10", "new_format": "fp32_cifar10", "other_training": None,
        "new_cifar100": "fp32_cifar100",
    }  # fmt: skip
    with_new.write("other_training", best=0.9)
    assert shown(with_new, "group_formats")["Another training"][f"gap {BEST}"] == "–"


def test_what_a_run_differs_in_is_read_from_its_settings(factory):
    factory.write("ptq4_mse_cifar10")
    table = grid(factory, "group_ptq")
    place = [row.label for row in table.rows].index("PTQ, 4-bit, MSE-optimal clip")
    assert "quantizer: none; ptq: mse, bit width 4" in " ".join(table.details(place))
    assert rows(table)["PTQ, 4-bit, MSE-optimal clip"][LAST] != "not run"


def test_the_figure_has_a_panel_a_data_set_and_ptq_one_mark(with_new):
    for name in ("fp32_cifar10", "main_cifar10", "new_format", "new_cifar100", "ptq4_cifar10"):
        with_new.write(name, "quick", best=0.9)
    points = drawing(with_new, "figure_formats").data
    assert points.groupby("data", sort=False)["row"].unique().map(list).to_dict() == {
        "digits10": ["A new format"], "digits100": ["A format on CIFAR-100"],
    }  # fmt: skip
    assert len(drawing(with_new, "figure_ptq").data) == 1


def test_a_diverged_method_is_crossed_out(with_new):
    with_new.write("new_format", best=0.1, status="diverged")
    drawn = drawing(with_new, "figure_formats")
    assert set(drawn.data["status"]) == {"diverged"}
    texts = [text.get_text() for text in drawn.figure.legends[0].get_texts()]
    assert "diverged" in texts
