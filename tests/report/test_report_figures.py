"""Each figure can be drawn from whatever there is, and holds what the records hold."""

import ast
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from report_factory import CONFIG, LAYERS
from tables_of import all_plots, drawing, records_of

import repro
from repro.config import load_config
from repro.paper import authors_log
from repro.report.figures.files import inline_svg, to_bytes
from repro.report.figures.pipeline import AS_RUN, CODE_ORDER, LABELS, PRINTED, pipeline_steps
from repro.report.figures.sketches import HEIGHT, POINTS, WIDTH, courses
from repro.report.vocabulary import COLORS

NAMES = tuple(all_plots(load_config(CONFIG)))
# Calls in the code and the steps of figure 1 that they are. The model's own call contains the quantiser's.
STEP_CALLS = {
    "self.model": "forward", "loss.backward": "backward", "clip_gradients": "gradient_clip",
    "self.optimizer.step": "optimizer", "self.weight_clip.step": "weight_clip",
}  # fmt: skip
QUANTIZER_CALLS = {"self.scale": "scale", "fake_quantize": "quantize"}


def nothing(factory):
    pass


def several(factory):
    for name in ("main_cifar10", "fp32_cifar10", "ablation_full", "bits2_cifar10", "ptq4_cifar10", "qat8_cifar10",
                 "main_cifar100", "schedule_restarts_cifar10", "nf4_cifar10"):  # fmt: skip
        for seed in (0, 1):
            factory.write(name, "short", seed, best=0.9 + 0.001 * seed)


def one_arm(factory):
    factory.write("ablation_no_weight_clip")


def diverged(factory):
    folder = factory.write("main_cifar10", status="diverged")
    lines = (folder / "layers.csv").read_text().splitlines()
    broken = [[*line.split(",")[:2], "", "nan", "inf", "nan", "inf"] for line in lines[1:]]
    (folder / "layers.csv").write_text("\n".join([lines[0], *(",".join(line) for line in broken)]) + "\n")


def other_machine(factory):
    path = factory.write("ablation_full") / "record.json"
    record = json.loads(path.read_text())
    record["environment"] |= {"architecture": "aarch64", "processor": "a $ phone", "torch_threads": 4}
    record["timing"]["train_images_per_second"] = 0.0
    path.write_text(json.dumps(record))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fill", [nothing, several, one_arm, diverged, other_machine])
def test_each_figure_can_be_drawn_from_whatever_there_is(factory, fill):
    fill(factory)
    records = records_of(factory)
    for name, plot in all_plots(factory.config).items():
        if plot.decides and not any(plot.measured(view) for view in plot.views(records)):
            continue
        drawn = plot.drawing(plot.views(records)[0])
        svg = to_bytes(drawn.figure, "svg")
        assert b"<svg" in svg, name
        assert "scale" in drawn.data.columns or drawn.data.empty, name
        assert plot.title in svg.decode().replace("&#x27;", "'"), name  # legible on its own


def test_a_run_stands_beside_the_log_at_the_papers_own_epochs_alone(factory):
    """A seed has its own run, else the longest that is its first epochs; a shortened run has no epoch of the log."""
    runs = {"main_cifar10": [0], "mobile_cifar10": [0, 1], "ablation_full": [1], "schedule_one_cosine_cifar10": [2]}
    for name, seed in ((name, seed) for name, seeds in runs.items() for seed in seeds):
        factory.write(name, "paper", seed, best=0.9)
    for name in ("main_cifar10", "mobile_cifar10"):
        factory.write(name, "short", best=0.9)
    plot, records = all_plots(factory.config)["follows10"], records_of(factory)
    assert [view.scale for view in plot.views(records) if plot.measured(view)] == ["paper"]
    data = plot.drawing(plot.views(records)[0]).data
    lengths = data.groupby(["seed", "experiment"])["epoch"].max().to_dict()
    assert lengths == {(0, "main_cifar10"): 150, (1, "ablation_full"): 100, (2, "schedule_one_cosine_cifar10"): 1}
    log = authors_log("cifar10").set_index("epoch")["train_accuracy"]
    assert data["train_accuracy_log"].tolist() == pytest.approx((100 * log.loc[data["epoch"]]).tolist())
    assert "follows100" not in {name for name, plot in all_plots(factory.config).items()
                                if any(plot.measured(view) for view in plot.views(records))}  # fmt: skip


def test_the_course_of_every_run_ends_where_its_record_does(factory):
    for experiment, scale in (("main_cifar10", "paper"), ("main_cifar10", "short"), ("fp32_cifar10", "short")):
        factory.write(experiment, scale)
    factory.write("ptq4_cifar10", "short")  # trains nothing
    found = courses(records_of(factory))
    assert [(one.title, one.about) for one in found] == [
        ("4-bit, CIFAR-10", "paper, seed 0, 150 epochs"),
        ("4-bit, CIFAR-10", "short, seed 0, 9 epochs"),
        ("Unquantised (bf16), same training", "short, seed 0, 9 epochs"),
    ]
    for one in found:
        last = list(csv.DictReader((factory.results / one.path / "epochs.csv").open()))[-1]
        accuracy, loss, _ = one.sketches
        assert accuracy.last == (
            f"train {100 * float(last['train_accuracy']):.1f}, test {100 * float(last['test_accuracy']):.1f}"
        )
        assert (accuracy.top, loss.top) == ("100", f"{float(last['test_loss']):.3f}")
        points = [tuple(map(float, point.split(","))) for point in accuracy.lines["test"].split()]
        assert points[-1] == (WIDTH, pytest.approx(HEIGHT * (1 - float(last["test_accuracy"])), abs=0.06))
        assert len(points) <= POINTS + 1


def test_on_the_page_a_figure_has_the_pages_colours_type_and_ids(factory):
    factory.write("main_cifar10", "short")
    text = inline_svg(to_bytes(drawing(factory, "figure3").figure, "svg"), "mine")
    assert not any(light in text for light, _ in COLORS.values())
    assert "var(--ours)" in text
    assert "font-family" not in text
    assert ">0.001<" in text.replace(" ", "")  # numbers are shortened in paths, never in words
    assert 'id="mine-' in text


def code_order():
    """Steps of figure 1 in the order in which the trainer's step makes them, read from its source."""
    package = Path(repro.__file__).parent
    quantizer = _calls(package / "quant" / "uniform.py", "UniformQuantizer", "forward")
    steps = []
    for call in _calls(package / "train" / "trainer.py", "Trainer", "_step"):
        if call == "self.model":
            steps += [QUANTIZER_CALLS[inner] for inner in quantizer if inner in QUANTIZER_CALLS]
        if call in STEP_CALLS:
            steps.append(STEP_CALLS[call])
    return steps


def _calls(path, class_name, method):
    """Names called in a method, such as ``self.optimizer.step``, in the order of evaluation."""
    classes = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == class_name]
    bodies = [member for node in classes for member in node.body if getattr(member, "name", "") == method]
    return [name for body in bodies for name in _in_order(body)]


def _in_order(node):
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)
    if isinstance(node, ast.Call):  # after its arguments, which are evaluated first
        yield ast.unparse(node.func)


def test_figure_1_has_the_order_of_the_trainers_code():
    assert code_order() == list(CODE_ORDER)
    assert sorted(CODE_ORDER) == sorted(LABELS)


def test_figure_1_marks_the_box_whose_order_differs():
    steps = pipeline_steps()
    assert steps.loc[steps["moved"], "steps"].tolist() == ["weight_clip", "weight_clip"]
    places = steps[steps["moved"]].set_index("panel")["order"]
    assert (places[PRINTED], places[AS_RUN]) == (1, len(LABELS))


def test_figure_2_reads_extent_and_shrink_from_the_records(factory):
    folder = factory.write("main_cifar10")
    record = json.loads((folder / "record.json").read_text())
    edges = np.linspace(-0.4, 0.4, 5).tolist()
    record["layers"] = [
        {"name": LAYERS[0], "max_abs_weight": 0.4, "histogram": {"edges": edges, "counts": [0, 500, 500, 0]}}
    ]
    (folder / "record.json").write_text(json.dumps(record))
    frame = drawing(factory, "figure2").data
    tanh = frame[frame["series"] == "tanh soft clip"]
    assert tanh["y"].max() == pytest.approx(3 * np.tanh(2))
    weights = frame[frame["kind"] == "weights"].iloc[0]
    assert (weights["y"], weights["low"], weights["high"]) == pytest.approx((0.4, -0.1996, 0.1996))
    largest = frame[(frame["kind"] == "shrink_max_steps") & (frame["series"] == LAYERS[0])].iloc[0]
    assert (largest["low"], largest["y"], largest["high"]) == pytest.approx((0.1, 0.1, 0.1))


def test_the_heat_map_holds_the_levels_of_the_records_and_of_both_logs(factory):
    factory.write("main_cifar10", "quick")
    frame = drawing(factory, "levels").data
    ours = frame[frame["scale"] == "quick"].set_index(["layer", "epoch"])["levels"]
    assert ours[LAYERS[1], 2] == 13 + (2 + 1) % 3
    logs = frame[frame["scale"] == ""]
    assert logs["panel"].nunique() == 2
    assert logs.loc[logs["layer"] == "fewest of any layer", "levels"].min() == 12


def test_the_shrink_figure_takes_the_longer_run_where_the_ablation_is_not_run(factory):
    factory.write("main_cifar10")
    assert set(drawing(factory, "shrink").data["experiment"]) == {"main_cifar10"}
    factory.write("ablation_full")
    factory.write("ablation_no_weight_clip")
    frame = drawing(factory, "shrink").data
    assert set(frame["experiment"]) == {"ablation_full", "ablation_no_weight_clip"}
    assert frame["learning_rate"].notna().all()


def test_bit_widths_join_runs_that_differ_in_nothing_else(factory):
    names = [e.name for e in factory.config.experiments.values() if e.group == "bit_width"]
    for name in (*names, "main_cifar10", "fp32_cifar10", "qat8_cifar10", "fp32_plain_cifar10"):
        factory.write(name, best=0.9)
    points = drawing(factory, "bit_widths").data
    assert list(dict.fromkeys(points["row"])) == ["2 bits", "3 bits", "4 bits", "5 bits", "6 bits", "8 bits", "none"]
    assert set(points["experiment"]) == {*names, "main_cifar10", "fp32_cifar10"}


def test_hollow_marks_are_those_that_decide_nothing(factory):
    for scale in ("short", "paper"):
        factory.write("main_cifar10", scale)
        factory.write("fp32_cifar10", scale)
        figure = drawing(factory, "full_precision", scale).figure
        ours = [handle for handle in figure.legends[0].legend_handles if handle.get_label().startswith("measured")]
        hollow = ours[0].get_markerfacecolor() != ours[0].get_color()
        assert hollow == (scale == "short")
