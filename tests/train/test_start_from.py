"""Training from another run's weights: whose they are, what is refused, and the same bits after a stop."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from repro.cli import main
from repro.config import Config, ConfigError, Plan, Run, load_config
from repro.errors import ReproError
from repro.records import read_record
from repro.status import scale_status
from repro.train import Interrupted, Settings, restore_weights, train_run
from repro.train.weights import SIDE_FOLDER
from tests.conftest import PROJECT

Edit = Callable[[dict[str, Any]], object]
TUNED: Mapping[str, Any] = {
    "group": "baselines",
    "title": "LSQ from full precision",
    "quantizer": {"name": "lsq", "bit_width": 4},
    "quantized_layers": "inner",
    "start_from": "fp32_cifar10",
    "model": {"dropout": 0.5},
}


def configured(folder: Path, edit: Edit = lambda raw: None) -> Path:
    raw = yaml.safe_load((PROJECT / "config.yaml").read_text())
    raw["experiments"]["tuned"] = dict(TUNED)
    edit(raw)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(load_config(configured(tmp_path)), "smoke")


@pytest.fixture
def trained(plan: Plan, tmp_path: Path) -> Path:
    """Results with the run to start from."""
    train_run(plan.run("fp32_cifar10", 0), Settings(results=tmp_path / "results"))
    return tmp_path / "results"


def weights(run: Run, results: Path) -> dict[str, torch.Tensor]:
    return torch.load(run.weights_path(results), weights_only=True)


def test_the_identity_is_that_of_the_source_not_its_name(plan: Plan, config: Config, tmp_path: Path) -> None:
    run, source = plan.run("tuned", 0), plan.run("fp32_cifar10", 0)
    assert plan.source(run) == source
    assert run.spec["start_from"] == source.spec_hash
    assert (run.epochs_to_train, source.epochs_to_train) == (run.spec["epochs"],) * 2

    def rename(raw: dict[str, Any]) -> None:
        blocks = raw["experiments"]
        raw["experiments"] = {"fp32_renamed" if k == "fp32_cifar10" else k: block for k, block in blocks.items()}
        raw["experiments"]["tuned"]["start_from"] = "fp32_renamed"

    renamed = Plan(load_config(configured(tmp_path, rename)), "smoke")
    assert renamed.run("tuned", 0).spec_hash == run.spec_hash

    def train_otherwise(raw: dict[str, Any]) -> None:
        raw["experiments"]["fp32_other"] = {**raw["experiments"]["fp32_cifar10"], "batch_size": 64}
        raw["experiments"]["tuned"]["start_from"] = "fp32_other"

    other = Plan(load_config(configured(tmp_path, train_otherwise)), "smoke")
    assert other.run("tuned", 0).spec_hash != run.spec_hash
    assert Plan(config, "smoke").run("fp32_cifar10", 0).spec_hash == source.spec_hash


def test_it_starts_there_and_the_quantiser_sees_those_weights(plan: Plan, trained: Path) -> None:
    run, source = plan.run("tuned", 0), plan.run("fp32_cifar10", 0)
    still = replace(run, spec={**run.spec, "optimizer": {**run.spec["optimizer"], "learning_rate": 1e-30}})
    still = replace(still, spec={**still.spec, "weight_clip": {"name": "none"}})
    record = train_run(still, Settings(results=trained, plan=plan))
    before, after = weights(source, trained), weights(still, trained)
    for name in ("layers.conv1.weight", "layers.conv3.weight", "layers.fc2.bias", "layers.bn2.weight"):
        torch.testing.assert_close(after[name], before[name], rtol=1e-5, atol=1e-7)
    step = 2 * before["layers.conv3.weight"].abs().mean() / 7**0.5
    torch.testing.assert_close(after["layers.conv3.weight_quantizer.step"], step, rtol=1e-4, atol=0)
    assert record.spec["start_from"] == source.spec_hash


def test_it_is_better_off_than_from_random_weights(plan: Plan, trained: Path) -> None:
    run = plan.run("tuned", 0)
    scratch = replace(run, spec={**run.spec, "start_from": None}, spec_hash="0" * 8)
    tuned, random = (train_run(one, Settings(results=trained, plan=plan)) for one in (run, scratch))
    assert tuned.summary["final_train_loss"] < random.summary["final_train_loss"]


def test_a_stopped_one_goes_on_with_the_same_bits_and_without_the_source(plan: Plan, trained: Path) -> None:
    run, source = plan.run("tuned", 0), plan.run("fp32_cifar10", 0)
    train_run(run, Settings(results=trained, plan=plan))
    whole = weights(run, trained)
    for path in run.directory(trained).iterdir():
        path.unlink()
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        train_run(run, Settings(results=trained, plan=plan, stop=lambda: next(calls) >= 2))
    source.weights_path(trained).unlink()
    train_run(run, Settings(results=trained, plan=plan))
    again = weights(run, trained)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_weights_that_are_gone_come_back(plan: Plan, trained: Path) -> None:
    """Those of the source too, as in a clone, which holds records alone."""
    run, source = plan.run("tuned", 0), plan.run("fp32_cifar10", 0)
    train_run(run, Settings(results=trained, plan=plan))
    whole = weights(run, trained)
    for one in (run, source):
        one.weights_path(trained).unlink()
    restore_weights(run, Settings(results=trained, plan=plan))
    again = weights(run, trained)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert not (trained / SIDE_FOLDER).exists()


def test_the_workflow_makes_the_weights_first(plan: Plan, trained: Path) -> None:
    run, source = plan.run("tuned", 0), plan.run("fp32_cifar10", 0)
    assert plan.weights_before(run, trained) == [str(source.weights_path(trained))]
    train_run(run, Settings(results=trained, plan=plan))
    source.weights_path(trained).unlink()
    assert plan.weights_before(run, trained) == []


def test_through_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that is started from trains first, whatever the order of the names."""
    plan = Plan(load_config(configured(tmp_path)), "smoke")
    monkeypatch.chdir(tmp_path)
    command = ["train", "tuned", "--scale", "smoke", "--seed", "0", "--no-track", "--results", "results"]
    assert main(command) == 1
    assert "tuned starts from the weights of fp32_cifar10; make them with `python -m repro weights" in (
        capsys.readouterr().err
    )
    assert main([*command[:2], "fp32_cifar10", *command[2:]]) == 0
    run = plan.run("tuned", 0)
    assert read_record(run.record_path(Path("results"))).spec["start_from"] == plan.run("fp32_cifar10", 0).spec_hash
    (state,) = [entry for entry in scale_status(plan, Path("results")) if entry.run == run]
    assert state.epoch == run.spec["epochs"]


def put(key: str, value: object, experiment: str = "tuned") -> Edit:
    return lambda raw: raw["experiments"][experiment].__setitem__(key, value)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (put("start_from", "fp32_cifar1"), r"unknown experiment 'fp32_cifar1'; did you mean 'fp32_cifar10'"),
        (put("start_from", "main_cifar10"), "main_cifar10 is quantised"),
        (put("start_from", "ptq4_cifar10"), "ptq4_cifar10 is quantised"),
        (put("dataset", {"name": "cifar100"}), "fp32_cifar10 has another model or other data"),
        (put("model", "resnet20"), "fp32_cifar10 has another model or other data"),
        (put("start_from", "tuned"), "tuned starts, in the end, from itself"),
        (put("scales", ["paper"], "fp32_cifar10"), "fp32_cifar10 takes no part at scale smoke"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(tmp_path: Path, edit: Edit, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_config(configured(tmp_path, edit))


def test_weights_of_another_model_are_refused(plan: Plan, trained: Path) -> None:
    run, source = plan.run("tuned", 0), plan.run("fp32_cifar10", 0)
    torch.save({"layers.conv1.weight": torch.zeros(1)}, source.weights_path(trained))
    with pytest.raises(ReproError, match="not the weights of the record beside it"):
        train_run(run, Settings(results=trained, plan=plan))
    source.record_path(trained).unlink()
    with pytest.raises(ReproError, match="are not those of its model"):
        train_run(run, Settings(results=trained, plan=plan))
    source.weights_path(trained).write_bytes(b"no weights")
    with pytest.raises(ReproError, match=r"weights\.pt: damaged"):
        train_run(run, Settings(results=trained, plan=plan))
    with pytest.raises(ReproError, match="without a plan"):
        train_run(run, Settings(results=trained))
