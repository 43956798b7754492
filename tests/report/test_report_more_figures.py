import dataclasses
import json

import numpy as np
import pytest
import yaml
from report_factory import CONFIG, LAYERS
from repro.report.bit_widths import bit_width_points
from repro.report.heat_map import level_map
from repro.report.pipeline import AS_RUN, LABELS, PRINTED, code_order, pipeline_steps
from repro.report.shrink import shrink_curves
from repro.report.soft_clip import FUNCTIONS, clip_effects
from repro.report.style import to_bytes

from repro.analysis import load_evidence
from repro.config import load_config
from repro.report import FIGURES

MINE = ("figure1", "figure2", "levels", "shrink", "bit_widths", "figure_baselines", "figure_cost")


def evidence_of(factory):
    return load_evidence(factory.config, factory.results)


def nothing(factory):
    pass


def one_scale(factory):
    factory.write_all("quick")


def several(factory):
    factory.write_all("short", seeds=(0, 1))
    factory.write("main_cifar10", "paper")


def one_arm(factory):
    factory.write("ablation_no_weight_clip")


def diverged(factory):
    folder = factory.write("main_cifar10", status="diverged")
    rows = (folder / "layers.csv").read_text().splitlines()
    broken = [[*line.split(",")[:2], "", "nan", "inf", "nan", "inf"] for line in rows[1:]]
    (folder / "layers.csv").write_text("\n".join([rows[0], *(",".join(line) for line in broken)]) + "\n")


def other_machine(factory):
    path = factory.write("ablation_full") / "record.json"
    record = json.loads(path.read_text())
    record["environment"] |= {"architecture": "aarch64", "processor": "a $ phone", "torch_threads": 4}
    record["timing"]["train_images_per_second"] = 0.0
    path.write_text(json.dumps(record))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("fill", [nothing, one_scale, several, one_arm, diverged, other_machine])
def test_each_figure_can_be_drawn_from_whatever_there_is(factory, fill, name):
    fill(factory)
    entry = FIGURES[name]
    frame = entry.data(evidence_of(factory))
    assert len(frame)
    assert frame["panel"].notna().all()
    assert b"<svg" in to_bytes(entry.draw(frame), "svg")


def test_the_code_makes_every_step_of_figure_1_once_and_clips_weights_last():
    order = code_order()
    assert sorted(order) == sorted(LABELS)
    assert order.index("gradient_clip") < order.index("optimizer") < order.index("weight_clip")
    assert order.index("scale") < order.index("quantize") < order.index("forward") < order.index("backward")


def test_figure_1_marks_the_box_whose_order_differs(factory):
    steps = pipeline_steps(evidence_of(factory))
    assert steps.loc[steps["moved"], "steps"].tolist() == ["weight_clip", "weight_clip"]
    places = steps[steps["moved"]].set_index("panel")["order"]
    assert places[PRINTED] == 1
    assert places[AS_RUN] == len(LABELS)


def test_figure_2_reads_extent_and_shrink_from_the_records(factory):
    folder = factory.write("main_cifar10")
    record = json.loads((folder / "record.json").read_text())
    edges = np.linspace(-0.4, 0.4, 5).tolist()
    record["layers"] = [
        {"name": LAYERS[0], "max_abs_weight": 0.4, "histogram": {"edges": edges, "counts": [0, 500, 500, 0]}}
    ]
    (folder / "record.json").write_text(json.dumps(record))
    frame = clip_effects(evidence_of(factory))
    tanh = frame[(frame["panel"] == FUNCTIONS) & (frame["series"] == "tanh soft clip")]
    assert tanh["y"].max() == pytest.approx(3 * np.tanh(2))
    weights = frame[frame["kind"] == "weights"].iloc[0]
    assert (weights["y"], weights["low"], weights["high"]) == pytest.approx((0.4, -0.1996, 0.1996))
    largest = frame[(frame["kind"] == "shrink_max_steps") & (frame["series"] == LAYERS[0])].iloc[0]
    assert (largest["low"], largest["y"], largest["high"]) == pytest.approx((0.1, 0.1, 0.1))


def test_the_heat_map_holds_the_levels_of_the_records_and_of_both_logs(factory):
    factory.write("main_cifar10", "quick")
    frame = level_map(evidence_of(factory))
    ours = frame[frame["scale"] == "quick"].set_index(["layer", "epoch"])["levels"]
    assert ours[LAYERS[1], 2] == 13 + (2 + 1) % 3
    logs = frame[frame["scale"] == ""]
    assert logs["panel"].nunique() == 2
    assert logs.loc[logs["layer"] == "fewest of any layer", "levels"].min() == 12


def test_the_shrink_figure_takes_the_longer_run_where_the_ablation_is_not_run(factory):
    factory.write("main_cifar10")
    assert set(shrink_curves(evidence_of(factory))["experiment"]) == {"main_cifar10"}
    factory.write("ablation_full")
    factory.write("ablation_no_weight_clip")
    frame = shrink_curves(evidence_of(factory))
    assert set(frame["experiment"]) == {"ablation_full", "ablation_no_weight_clip"}
    assert frame["learning_rate"].notna().all()


def test_bit_widths_join_runs_that_differ_in_nothing_else(factory, tmp_path):
    raw = yaml.safe_load(CONFIG.read_text())
    raw["experiments"]["two_bits"] = {
        "group": "main", "title": "2 bits", "quantizer": {"name": "absmax", "bit_width": 2},
    }  # fmt: skip
    raw["experiments"]["two_bits_short"] = raw["experiments"]["two_bits"] | {"epochs": 100}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    factory = dataclasses.replace(factory, config=load_config(tmp_path / "config.yaml"))
    factory.write("main_cifar10", best=0.9)
    factory.write("fp32_cifar10", best=0.95)
    factory.write("fp32_plain_cifar10", best=0.96)
    factory.write("two_bits", best=0.8)
    factory.write("two_bits_short", best=0.7)
    points = bit_width_points(evidence_of(factory))
    best = points[points["measure"] == "best_test_accuracy"]
    assert best.set_index("bit_width")["accuracy"].to_dict() == pytest.approx({2: 80, 4: 90, 32: 95})
    assert points["panel"].nunique() == 1
    assert not (points["measure"] == "paper").any()  # digits


def test_the_sweep_of_config_yaml_is_one_panel_with_the_main_run_and_fp32(factory):
    names = [e.name for e in factory.config.experiments.values() if e.group == "bit_width"]
    for name in (*names, "main_cifar10", "fp32_cifar10", "qat8_cifar10"):
        factory.write(name)
    points = bit_width_points(evidence_of(factory))
    assert points["panel"].nunique() == 1
    assert set(points["bit_width"]) == {2, 3, 4, 5, 6, 8, 32}
    assert set(points["experiment"]) == {*names, "main_cifar10", "fp32_cifar10"}


def test_the_papers_accuracy_stands_beside_runs_on_its_data_only(factory):
    factory.write("main_cifar100", "short")
    points = bit_width_points(evidence_of(factory))
    assert points.loc[points["measure"] == "paper", "accuracy"].tolist() == [70.94]
