"""The configuration: every entry resolves, every mistake is named, identity follows what changes a number."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from repro.config import Config, ConfigError, Plan, hash_spec, load_config, resolve_spec
from repro.errors import ReproError
from tests.conftest import PROJECT

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def edited(tmp_path: Path, project: Path) -> Callable[[Edit], Path]:
    """The project's configuration with an edit applied, as a file."""

    def write(edit: Edit) -> Path:
        raw = yaml.safe_load((project / "config.yaml").read_text())
        edit(raw)
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(raw, sort_keys=False))
        return path

    return write


def put(path: str, value: object) -> Edit:
    """An edit that sets one value, by its dotted path."""

    def edit(raw: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for key in parents:
            raw = raw[key]
        raw[last] = value

    return edit


@pytest.mark.parametrize("scale", ["smoke", "quick", "short", "paper_bf16", "paper"])
def test_every_entry_resolves_at_every_scale(config: Config, scale: str) -> None:
    plan = Plan(config, scale)
    for experiment in plan.experiments:
        for run in plan.runs(experiment.name):
            assert run.spec["epochs"] >= 1
            assert run.directory().parts[:2] == ("results", scale)


def test_the_registry_holds_every_experiment_of_the_paper(config: Config) -> None:
    plan = Plan(config, "paper")
    epochs = {name: plan.run(name, 0).spec["epochs"] for name in config.experiments}
    groups = {group: sum(e.group == group for e in config.experiments.values()) for group in plan.groups}
    paper = {"main": 2, "fp32": 4, "ablation": 11, "schedules": 8, "validated": 4, "mobile": 1, "anchor": 2}
    paper |= {"bit_width": 5, "baselines": 8, "formats": 7, "ptq": 13}
    assert all(groups[group] >= count for group, count in paper.items()), "whoever adds an ablation breaks nothing"
    assert all(epochs[n] == 100 for n, e in config.experiments.items() if e.group == "ablation")
    whole = ("main", "schedules", "fp32", "bit_width", "baselines", "formats", "ptq")
    assert all(epochs[n] == 150 for n, e in config.experiments.items() if e.group in whole)
    assert plan.scale.seeds == (0, 1, 2)


def test_scales_of_the_papers_length_decide(config: Config) -> None:
    assert [name for name, scale in config.scales.items() if scale.decides] == ["paper_bf16", "paper"]


def test_equal_specs_share_one_run(config: Config) -> None:
    plan = Plan(config, "paper")
    assert plan.run("schedule_as_run_cifar10", 0) == plan.run("main_cifar10", 0)
    assert plan.run("schedule_as_run_cifar10", 0).experiment == "main_cifar10"
    assert plan.run("main_cifar10", 1).directory() != plan.run("main_cifar10", 0).directory()
    assert len(list(plan)) == len({run.key for run in plan}) < 3 * len(plan.experiments)
    assert {run.key for run in plan.default_runs} < {run.key for run in plan}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("defaults.optimizer.learning_rate", 0.002),
        ("defaults.gradient_clip", 0.6),
        ("defaults.quantizer.bit_width", 3),
        ("defaults.precision", "bf16"),
        ("defaults.model.dropout", 0.4),
        ("defaults.weight_clip.bound", 2.0),
        ("defaults.schedule.t_max", 90),
        ("defaults.batch_size", 64),
        ("scales.paper.train_images", 40_000),
        ("scales.paper.epochs_factor", 0.5),
    ],
)
def test_what_changes_a_number_changes_the_hash(config: Config, edited: Any, path: str, value: object) -> None:
    before = Plan(config, "paper").run("main_cifar10", 0).spec_hash
    assert Plan(load_config(edited(put(path, value))), "paper").run("main_cifar10", 0).spec_hash != before


@pytest.mark.parametrize(
    ("path", "value"),
    [("scales.paper.torch_threads", 7), ("experiments.main_cifar10.title", "x"), ("seeds", [5])],
)
def test_what_changes_no_number_keeps_the_hash(config: Config, edited: Any, path: str, value: object) -> None:
    before = Plan(config, "paper").run("main_cifar10", 0).spec_hash
    assert Plan(load_config(edited(put(path, value))), "paper").run("main_cifar10", 0).spec_hash == before


def test_ptq_takes_the_weights_of_the_same_settings(config: Config) -> None:
    """At every scale, seed by seed; and a spec without PTQ hashes as it did before there was any."""
    for scale in config.scales:
        plan = Plan(config, scale)
        for run in plan.group("ptq"):
            source = plan.source(run)
            assert source == plan.run("fp32_cifar10", run.seed)
            assert {**run.spec, "ptq": None} == {**source.spec, "ptq": None}
            assert run.spec["ptq"]["source"] == ("zero_rate" if "zero_rate" in run.experiment else "last")
            assert (run.epochs_to_train, source.epochs_to_train) == (0, source.spec["epochs"])
    assert Plan(config, "paper").source(plan.run("main_cifar10", 0)) is None
    assert Plan(config, "short").run("fp32_cifar10", 0).spec_hash == "8e03c1c4"


def test_weights_are_waited_for_unless_only_the_record_is_here(config: Config, tmp_path: Path) -> None:
    plan = Plan(config, "smoke")
    run, source = plan.run("ptq4_cifar10", 0), plan.run("fp32_cifar10", 0)
    weights = [str(source.weights_path(tmp_path))]
    assert plan.weights_before(source, tmp_path) == []
    assert plan.weights_before(run, tmp_path) == weights
    run.record_path(tmp_path).parent.mkdir(parents=True)
    run.record_path(tmp_path).touch()
    assert plan.weights_before(run, tmp_path) == [], "a clone: nothing may depend on weights that it lacks"
    source.weights_path(tmp_path).parent.mkdir(parents=True)
    source.weights_path(tmp_path).touch()
    assert plan.weights_before(run, tmp_path) == weights, "the same input as when it ran"


def test_a_scale_keeps_the_schedules_shape(config: Config) -> None:
    short = config.scales["short"]
    main = resolve_spec(config.experiments["main_cifar10"], short)
    assert (main["epochs"], main["schedule"]["t_max"]) == (9, pytest.approx(6))
    ablation = resolve_spec(config.experiments["ablation_full"], short)
    assert (ablation["epochs"], ablation["schedule"]["t_max"]) == (6, pytest.approx(6))
    mobile = resolve_spec(config.experiments["mobile_cifar10"], short)
    assert (mobile["epochs"], mobile["schedule"]["t_max"]) == (6, 100)
    assert config.experiments["main_cifar10"].settings["epochs"] == 150


def test_numbers_may_be_written_as_people_write_them(config: Config, edited: Any) -> None:
    same = load_config(edited(put("defaults.optimizer.learning_rate", "1e-3")))  # YAML 1.1 reads 1e-3 as text
    assert same.experiments["main_cifar10"] == config.experiments["main_cifar10"]
    whole = load_config(edited(put("defaults.schedule.t_max", 100)))
    assert (
        hash_spec(whole.experiments["main_cifar10"].settings) == Plan(config, "paper").run("main_cifar10", 0).spec_hash
    )


def test_another_method_starts_from_its_own_options(edited: Any) -> None:
    config = load_config(edited(put("experiments.extra", {"group": "ablation", "title": "t", "schedule": "constant"})))
    assert config.experiments["extra"].settings["schedule"] == {"name": "constant"}


# Of the first 30 epochs, which are trained at the scales of the paper's length alone
PTQ_OF_AN_ANCHOR = {
    "group": "ptq", "title": "PTQ", "epochs": 30, "fixed_epochs": True, "quantizer": "none",
    "ptq": {"name": "absmax", "bit_width": 4},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("experiments.main_cifar10.epoch", 3, "main_cifar10.epoch: unknown key 'epoch'; did you mean 'epochs'?"),
        ("experiments.main_cifar10.dataset", {"name": "cifar11"}, "did you mean 'cifar10'?"),
        ("defaults.optimizer", {"name": "adam"}, "unknown method 'adam'; did you mean 'adamw'?"),
        ("defaults.optimizer.lr", 1, "unknown key 'lr'"),
        ("defaults.quantizer.bit_width", 9, "9 is not allowed; expected an integer >= 2 and <= 8"),
        ("defaults.quantizer.bit_width", 4.5, "4.5 is not allowed"),
        ("defaults.quantizer.bit_width", True, "True is not allowed"),
        ("defaults.optimizer.learning_rate", 0, "0 is not allowed; expected a number > 0"),
        ("defaults.optimizer.learning_rate", float("nan"), "nan is not allowed"),
        ("defaults.gradient_clip", "off", "'off' is not allowed; expected a number > 0, or null"),
        ("defaults.epochz", 3, "defaults.epochz: unknown key 'epochz'; did you mean 'epochs'?"),
        ("defaults.weight_clip", None, "names no method (allowed: hard, none, tanh)"),
        ("experiments.main_cifar10.group", "report", "cannot name a target"),
        ("experiments.Bad-Name", {}, "a name is made of lower-case letters"),
        ("scale", ["quick"], "unknown scale ['quick']"),
        ("defaults.quantizer", {"name": ["absmax"]}, "unknown method ['absmax']"),
        ("scales.quick.train_images", 1, "1 is not allowed; expected an integer >= 2"),
        ("scales.quick.epochs_factor", 1e300, "expected a number > 0 and <= 100"),
        ("scale", "qick", "unknown scale 'qick'; did you mean 'quick'?"),
        ("seeds", [], "expected a list of at least one"),
        ("seeds", [0, -1], "integer >= 0"),
        ("scales.quick.seeds", [1, 1], "names a seed twice"),
        ("scales.quick.dataset_map", {"cifar1": "digits10"}, "unknown key 'cifar1'"),
        ("experimnts", {}, "unknown key 'experimnts'; did you mean 'experiments'?"),
        ("experiments", {}, "is not a mapping with at least one entry"),
        ("experiments.ptq4_cifar10.ptq", {"name": "abs"}, "unknown method 'abs'; did you mean"),
        ("experiments.ptq4_cifar10.ptq", {"name": "mse", "bit_width": 9}, "9 is not allowed"),
        ("experiments.ptq4_cifar10.batch_size", 64, "ptq4_cifar10.ptq: no experiment trains its network"),
        ("experiments.ptq4_cifar10.fixed_epochs", True, "ptq4_cifar10.ptq: no experiment trains its network"),
        ("experiments.main_cifar10.ptq", {"name": "mse", "bit_width": 4}, "main_cifar10.ptq: quantises a network"),
        ("experiments.main_cifar10.group", "weights", "cannot name a target"),
        ("experiments.qat8_cifar10.activation_quantizer", {"name": "lsq", "bit_width": 4}, "quantises the inputs"),
        ("experiments.nf4_cifar10.scales", ["papr"], "nf4_cifar10.scales: unknown scale 'papr'; did you mean 'paper'?"),
        ("experiments.nf4_cifar10.scales", [], "expected a list of at least one"),
        ("experiments.nf4_cifar10.scales", "paper", "expected a list of at least one"),
        ("experiments.ptq4_cle_cifar10.ptq.bias_correction", "analytic", "cle corrects the biases itself"),
        ("experiments.ptq4_cifar10.ptq.bias_correction", "analytical", "did you mean 'analytic'?"),
        ("experiments.optimizer_sgd_w4.optimizer.mup_base_width", 0.5, "rate as it is under sgd: leave this out"),
        ("experiments.main_cifar10.optimizer", {"name": "adamw", "mup_base_width": 0}, "0 is not allowed"),
        ("experiments.ptq4_cifar10", PTQ_OF_AN_ANCHOR, "ptq4_cifar10.ptq: no experiment trains its network at sc"),
    ],
)  # fmt: skip
def test_mistakes_are_named(edited: Any, path: str, value: object, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(edited(put(path, value)))
    assert expected in str(error.value)


def test_all_mistakes_at_once(edited: Any) -> None:
    def edit(raw: dict[str, Any]) -> None:
        raw["scale"] = "nope"
        raw["experiments"]["main_cifar10"]["epochz"] = 1
        raw["experiments"]["ablation_full"]["epochs"] = 0
        raw["scales"]["quick"]["torch_threads"] = "two"

    with pytest.raises(ConfigError) as error:
        load_config(edited(edit))
    assert len(error.value.problems) == 4
    assert "4 problems" in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a: [", "not valid YAML"), ("scale: a\nscale: b", "'scale' given twice"), ("- 1", "not a mapping")],
)
def test_broken_files(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=expected):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")


def test_odd_files(tmp_path: Path, project: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"scale: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path)
    path.write_text("? [a, b]\n: 1\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(path)
    text = (project / "config.yaml").read_text().replace("defaults:", "defaults: &recipe", 1)
    path.write_text(text + "\n  extra:\n    <<: *recipe\n    group: ablation\n    title: t\n    epochs: 100\n")
    assert load_config(path).experiments["extra"].settings["epochs"] == 100


def test_a_restart_falls_on_its_epoch_whatever_the_factor(config: Config) -> None:
    for epochs in (3, 21, 42, 84, 150):
        scale = replace(config.scales["paper"], epochs_factor=epochs / 150)
        period = resolve_spec(config.experiments["schedule_restarts_cifar10"], scale)["schedule"]["period"]
        assert period == epochs * 100 / 150
        if epochs % 3 == 0:
            assert period == int(period)


def test_more_images_than_there_are_is_no_other_run(config: Config) -> None:
    """The same data must not be trained twice under two hashes."""
    experiment = config.experiments["main_cifar10"]
    whole = replace(config.scales["quick"], train_images=None, test_images=None)
    more = replace(whole, train_images=10**6, test_images=359)
    assert hash_spec(resolve_spec(experiment, whole)) == hash_spec(resolve_spec(experiment, more))


def test_an_experiment_keeps_to_its_scales(edited: Any) -> None:
    """Its identity is the same where it takes part; elsewhere it is not there, and an equal one owns the run."""
    path = edited(put("experiments.main_cifar10.scales", ["paper_bf16", "paper"]))
    config, whole = load_config(path), load_config(PROJECT / "config.yaml")
    here, away = Plan(config, "paper_bf16"), Plan(config, "quick")
    assert here.run("main_cifar10", 0) == Plan(whole, "paper_bf16").run("main_cifar10", 0)
    assert [run.experiment for run in away.group("main")] == ["main_cifar100"]
    assert away.run("schedule_as_run_cifar10", 0).experiment == "schedule_as_run_cifar10"
    assert "main_cifar10" not in {run.experiment for run in away}
    with pytest.raises(ReproError, match="main_cifar10 takes no part at scale quick, only at: paper_bf16, paper"):
        away.run("main_cifar10", 0)
    with pytest.raises(ReproError, match="did you mean 'main_cifar10'"):
        here.run("main_cifar1", 0)


def test_a_group_without_experiments_at_a_scale_is_no_target_there(edited: Any) -> None:
    config = load_config(edited(put("experiments.mobile_cifar10.scales", ["paper"])))
    assert "mobile" not in Plan(config, "quick").groups
    assert "mobile" in Plan(config, "paper").groups


def test_overrides(project: Path) -> None:
    config = load_config(project / "config.yaml", {"scale": "smoke", "seeds": [4, 5]})
    assert Plan(config).scale.name == "smoke"
    assert Plan(config).scale.seeds == (4, 5)
    with pytest.raises(ConfigError, match="unknown key 'epochs'"):
        load_config(project / "config.yaml", {"epochs": 3})


def test_importing_the_configuration_is_light() -> None:
    script = "import sys, repro.config, repro.status; print({'torch', 'pandas', 'mlflow', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_an_experiment_with_the_name_of_another_target_is_refused(tmp_path: Path, project: Path) -> None:
    raw = yaml.safe_load((project / "config.yaml").read_text())
    raw["experiments"] |= {"ablation": {"group": "main", "title": "t"}, "report": {"group": "main", "title": "t"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.yaml")
    assert len(caught.value.problems) == 2
    assert "experiments.ablation: a group has this name too" in caught.value.problems[0]
    assert "experiments.report: a step of the workflow has this name too" in caught.value.problems[1]
