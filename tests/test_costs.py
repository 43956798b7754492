"""The cost of a scale, from records of this machine or from a probe."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from repro.cli import main
from repro.config import Config, Plan, Run, load_config
from repro.config.trajectories import snapshot_path
from repro.costs import NO_WEIGHTS, START_SECONDS, RunCost, mean_rates, parse_duration, scale_costs, slots, wall_seconds
from repro.errors import ReproError
from repro.records import read_csv_rows, read_record, write_record
from repro.records.environment import available_cores
from repro.train import Settings, quantize_run, train_run
from repro.train.probe import probe_rates


def test_cached_runs_cost_nothing_and_records_speak_for_their_like(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.costs.has_gpu", lambda: False)
    plan = Plan(config, "smoke")
    train_run(plan.run("main_cifar10", 0), Settings(results=tmp_path))
    asked: list[str] = []

    def probe(run: Run) -> dict[str, float]:
        asked.append(run.experiment)
        return {"train": 1.0, "evaluate": 0.5}

    planned = {entry.run.experiment: entry for entry in scale_costs(plan, tmp_path, probe)}
    assert planned["main_cifar10"].source == "cached"
    assert planned["main_cifar10"].seconds == 0
    assert planned["ablation_full"].source == "records"
    assert {"qat8_cifar10", "dorefa_w4a4_cifar10", "pact_w4a4_cifar10"} <= set(asked), "one a costly method"
    for like in ("fp32_cifar10", "bits2_cifar10", "lsq_w4_cifar10", "nf4_cifar10", "ablation_standard_adamw"):
        assert planned[like].source == "records", "rounding weights costs next to nothing, by whatever rule"
    assert len(asked) == len(set(asked)) < len(planned)
    epochs = planned["qat8_cifar10"].run.spec["epochs"]
    assert planned["qat8_cifar10"].seconds == pytest.approx(epochs * (256 + 0.5 * 200), abs=10)

    other = plan.run("main_cifar10", 0)
    record = read_record(other.record_path(tmp_path))
    elsewhere = replace(record, environment={**record.environment, "processor": "another one"})
    write_record(other.directory(tmp_path), elsewhere, read_csv_rows(other.directory(tmp_path) / "epochs.csv"), [])
    planned = {entry.run.experiment: entry for entry in scale_costs(plan, tmp_path, probe)}
    assert planned["ablation_full"].source == "probe", "another machine's speed says nothing here"


def test_ptq_trains_no_epoch_and_may_need_weights_again(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.costs.has_gpu", lambda: False)
    plan = Plan(config, "smoke")
    source, run = plan.run("fp32_cifar10", 0), plan.run("ptq4_cifar10", 0)

    def planned() -> dict[str, RunCost]:
        entries = scale_costs(plan, tmp_path, lambda run: {"train": 1.0, "evaluate": 0.5})
        return {entry.run.experiment: entry for entry in entries}

    first = planned()
    assert first["ptq4_cifar10"].epochs_left == 0
    assert START_SECONDS < first["ptq4_cifar10"].seconds < first["fp32_cifar10"].seconds / 2
    train_run(source, Settings(results=tmp_path))
    quantize_run(run, source, Settings(results=tmp_path))
    assert (planned()["ptq4_cifar10"].seconds, planned()["fp32_cifar10"].seconds) == (0, 0)
    source.weights_path(tmp_path).unlink()
    gone = planned()["fp32_cifar10"]
    assert (gone.state, gone.epochs_left) == (NO_WEIGHTS, source.spec["epochs"])
    assert gone.seconds > 0
    assert planned()["ptq4_cifar10"].source == "cached"


def test_epochs_that_runs_share_count_once(tmp_path: Path, config: Config) -> None:
    plan = Plan(config, "smoke")

    def left() -> dict[str, int]:
        entries = scale_costs(plan, tmp_path, lambda run: {"train": 1.0, "evaluate": 0.5})
        return {entry.run.experiment: entry.epochs_left for entry in entries}

    main, restarts = plan.run("main_cifar10", 0), plan.run("schedule_restarts_cifar10", 0)
    first = left()
    names = ("main_cifar10", "ablation_full", "mobile_cifar10", "schedule_restarts_cifar10", "ablation_hard_clip")
    assert [first[name] for name in names] == [3, 0, 5, 1, 2]
    train_run(main, Settings(results=tmp_path))  # keeps nothing: the ablation will, for those after it
    assert [left()[name] for name in names] == [0, 2, 5, 1, 2]
    train_run(plan.run("ablation_full", 0), Settings(results=tmp_path, plan=plan))
    assert [left()[name] for name in names] == [0, 0, 5, 1, 2], "from the snapshots on disk"
    snapshot_path(restarts, 2, tmp_path).unlink()
    assert left()["schedule_restarts_cifar10"] == 2


def test_a_seed_started_by_hand_is_listed_and_costs_the_workflow_nothing(tmp_path: Path, config: Config) -> None:
    plan = Plan(config, "smoke")
    before = wall_seconds(scale_costs(plan, tmp_path, lambda run: {"train": 1.0, "evaluate": 0.5}))
    mean = mean_rates(plan, tmp_path)
    plan.run("mobile_cifar10", 5).directory(tmp_path).mkdir(parents=True)
    plan.run("mobile_cifar10", 5).directory(tmp_path).with_name("seed6-00000000").mkdir()
    costs = scale_costs(plan, tmp_path, lambda run: {"train": 1.0, "evaluate": 0.5})
    (by_hand,) = [cost for cost in costs if cost.by_hand]
    assert (by_hand.run.experiment, by_hand.run.seed, by_hand.epochs_left) == ("mobile_cifar10", 5, 6)
    assert wall_seconds(costs) == before
    assert mean is None


def test_slots_grow_with_cores_that_are_not_there() -> None:
    assert slots(2, None) == slots(2, available_cores()) == 2
    assert slots(1, 3 * available_cores()) == 3


def test_the_probe_times_the_real_step(tiny_run: Callable[..., Run]) -> None:
    small = probe_rates(tiny_run().spec, threads=1)
    wide = probe_rates(tiny_run(model={"name": "vgg", "width": 0.5, "dropout": 0.5}).spec, threads=1)
    assert 0 < small["evaluate"] < small["train"] < wide["train"]


def test_runs_share_the_cores(config: Config) -> None:
    run = Plan(config, "paper").run("main_cifar10", 0)
    planned = [RunCost(replace(run, torch_threads=1), "not started", 1, 60.0, "probe") for _ in range(4)]
    assert wall_seconds(planned, cores=1) == 240
    assert wall_seconds([], cores=1) == 0
    assert wall_seconds(planned[:1], cores=64) == 60


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("3h", 10_800), ("2d", 172_800), ("1.5h", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["3", "h", "3 hours", "-3h", ""])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ReproError, match="90s, 45m, 3h or 2d"):
        parse_duration(text)


def test_over_budget_is_an_exit_status(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(project / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("repro.commands.plan.probe", lambda run: {"train": 0.01, "evaluate": 0.003})
    assert main(["plan", "--scale", "smoke", "--budget", "10s"]) == 1
    assert "over the budget of 10 s" in capsys.readouterr().err
    assert main(["plan", "--scale", "smoke", "--budget", "10d"]) == 0
    assert f"0 cached, {len(Plan(load_config(), 'smoke').default_runs)} to train" in capsys.readouterr().out
