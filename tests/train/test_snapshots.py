"""Runs that share their first epochs have the bits they have alone; and what lies between them goes away again."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from repro.config import Config, Plan, Run
from repro.config.runs import ZERO_RATE_WEIGHTS_NAME
from repro.config.trajectories import snapshot_path
from repro.records import CHECKPOINT_NAME, EPOCHS_NAME, LAYERS_NAME, Record, StorageError, read_csv_rows, read_record
from repro.train import Interrupted, Settings, train_run, train_together
from repro.train.checkpoint import WEIGHTS_NAME, Checkpoint, load_checkpoint

MAIN = "main_cifar10"
TAKERS = {"ablation_full": 2, "mobile_cifar10": 1, "schedule_restarts_cifar10": 2}  # epochs shared at smoke


@pytest.fixture(scope="module")
def plan(config: Config) -> Plan:
    """Scale smoke with the main run and those that leave it; one batch size that gives an epoch four steps."""
    known = {name: config.experiments[name] for name in (MAIN, *TAKERS)}
    smaller = {n: replace(e, settings={**e.settings, "batch_size": 64}) for n, e in known.items()}
    return Plan(replace(config, experiments=smaller), "smoke")


@pytest.fixture(scope="module")
def scratch(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of every run, each trained from its start."""
    results = tmp_path_factory.mktemp("scratch")
    for run in plan:
        train_run(run, Settings(results=results))
    assert not list(results.glob("**/.snapshot*"))
    return results


def snapshots(results: Path) -> list[Path]:
    return sorted(results.glob("*/.*snapshot*"))


def stop_after(steps: int) -> Callable[[], bool]:
    count = iter(range(1, 10**9))
    return lambda: next(count) >= steps


def figures(folder: Path) -> list[dict[str, str]]:
    timing = ("wall_seconds", "images_per_second")
    rows = [*read_csv_rows(folder / EPOCHS_NAME), *read_csv_rows(folder / LAYERS_NAME)]
    return [{key: value for key, value in row.items() if key not in timing} for row in rows]


def assert_as_from_scratch(run: Run, results: Path, scratch: Path) -> Record:
    """Weights, figures and everything that the record measured; the record is returned."""
    here, there = run.directory(results), run.directory(scratch)
    names = {path.name for path in there.glob("*.pt")}
    assert {path.name for path in here.glob("*.pt")} == names
    assert names == {WEIGHTS_NAME} | ({ZERO_RATE_WEIGHTS_NAME} if run.experiment == MAIN else set())
    for name in names:
        one, two = (torch.load(folder / name, weights_only=True) for folder in (here, there))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert figures(here) == figures(there)
    record, whole = read_record(run.record_path(results)), read_record(run.record_path(scratch))
    assert (record.summary, record.layers, record.status) == (whole.summary, whole.layers, whole.status)
    return record


def shared_of(record: Record) -> tuple[Any, ...]:
    shared = record.environment["shared"] or {}
    return shared.get("from"), shared.get("epochs")


def test_shared_equals_from_scratch(tmp_path: Path, plan: Plan, scratch: Path) -> None:
    settings = Settings(results=tmp_path, plan=plan)
    main = plan.run(MAIN, 0)
    train_run(main, settings)
    assert set(snapshots(tmp_path)) == {snapshot_path(main, epochs, tmp_path) for epochs in (1, 2)}
    assert shared_of(assert_as_from_scratch(main, tmp_path, scratch)) == (None, None)
    for name, epochs in TAKERS.items():
        run = plan.run(name, 0)
        train_run(run, settings)
        record = assert_as_from_scratch(run, tmp_path, scratch)
        assert shared_of(record) == (main.key, epochs)
        rows = read_csv_rows(main.directory(tmp_path) / EPOCHS_NAME)[:epochs]
        seconds = sum(float(row["wall_seconds"]) for row in rows)
        assert record.environment["shared"]["wall_seconds"] == pytest.approx(seconds, abs=2e-3)
        assert record.timing["wall_seconds"] >= record.environment["shared"]["wall_seconds"] - 1e-3
    assert snapshots(tmp_path) == [], "nobody waits for one any more"


def test_the_other_way_round(tmp_path: Path, plan: Plan, scratch: Path) -> None:
    """The ablation ends where the main run goes on, with weights to keep just there."""
    settings = Settings(results=tmp_path, plan=plan)
    first = plan.run("ablation_full", 0)
    train_run(first, settings)
    for name, maker_epochs in ((MAIN, 2), ("schedule_restarts_cifar10", 2), ("mobile_cifar10", 1)):
        train_run(plan.run(name, 0), settings)
        record = assert_as_from_scratch(plan.run(name, 0), tmp_path, scratch)
        assert shared_of(record) == (first.key, maker_epochs)
    assert snapshots(tmp_path) == []


@pytest.mark.parametrize("steps", [1, 3])
def test_interrupted_and_resumed(tmp_path: Path, plan: Plan, scratch: Path, steps: int) -> None:
    """The maker before and the taker after the snapshot; the taker needs it only once."""
    main, run = plan.run(MAIN, 0), plan.run("schedule_restarts_cifar10", 0)
    settings = Settings(results=tmp_path, plan=plan)
    for one in (main, run):
        with pytest.raises(Interrupted):
            train_run(one, replace(settings, stop=stop_after(steps)))
        if one == main:
            train_run(main, settings)
    for path in snapshots(tmp_path):
        path.unlink()
    train_run(run, settings)
    record = assert_as_from_scratch(run, tmp_path, scratch)
    assert shared_of(record) == (main.key, 2)
    assert shared_of(assert_as_from_scratch(main, tmp_path, scratch)) == (None, None)


def test_a_damaged_snapshot_is_ignored_with_a_line(
    tmp_path: Path, plan: Plan, scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main, run = plan.run(MAIN, 0), plan.run("ablation_full", 0)
    settings = Settings(results=tmp_path, plan=plan)
    train_run(main, settings)
    damaged = snapshot_path(main, 2, tmp_path)
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with caplog.at_level(logging.INFO):
        train_run(run, settings)
    assert sum("not used, damaged" in line for line in caplog.messages) == 1
    record = assert_as_from_scratch(run, tmp_path, scratch)
    assert shared_of(record) == (main.key, 1), "the next longest"


def test_a_snapshot_of_another_setting_is_not_used(
    tmp_path: Path, plan: Plan, scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main, run = plan.run(MAIN, 0), plan.run("ablation_full", 0)
    train_run(main, Settings(results=tmp_path, plan=plan, threads=2))
    with caplog.at_level(logging.INFO):
        train_run(run, Settings(results=tmp_path, plan=plan))
    assert any("not used, made with threads 2; this run has threads 1" in line for line in caplog.messages)
    assert shared_of(assert_as_from_scratch(run, tmp_path, scratch)) == (None, None)


def test_in_turns_in_one_process(tmp_path: Path, plan: Plan, scratch: Path) -> None:
    """Who starts beside the main run finds no snapshot, who comes later does: the bits are the same."""
    results = list(train_together(list(plan), lambda run: Settings(results=tmp_path, plan=plan), at_once=2))
    shared = {run.experiment: shared_of(assert_as_from_scratch(run, tmp_path, scratch)) for run, _ in results}
    assert shared["ablation_full"] == (None, None)
    assert shared["schedule_restarts_cifar10"][1] == 2
    assert snapshots(tmp_path) == []


def test_a_full_disk_loses_the_snapshot_and_not_the_run(
    tmp_path: Path, plan: Plan, scratch: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = Checkpoint.save

    def save(self: Checkpoint, path: Path, former: Path | None = None) -> None:
        if "snapshot" in path.name:
            raise StorageError(f"cannot write {path}: no space")
        write(self, path, former)

    monkeypatch.setattr(Checkpoint, "save", save)
    train_run(plan.run(MAIN, 0), Settings(results=tmp_path, plan=plan))
    assert "The run itself goes on" in caplog.text
    assert_as_from_scratch(plan.run(MAIN, 0), tmp_path, scratch)
    assert snapshots(tmp_path) == []


def test_only_what_somebody_waits_for_is_kept(tmp_path: Path, plan: Plan) -> None:
    settings = Settings(results=tmp_path, plan=plan)
    main = plan.run(MAIN, 0)
    half = snapshot_path(main, 2, tmp_path).parent / f".{snapshot_path(main, 2, tmp_path).name}.abc.part"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"of a killed writer")
    for name in ("mobile_cifar10", "ablation_full", MAIN):
        train_run(plan.run(name, 0), settings)
    assert half.exists()
    assert [path.name for path in snapshots(tmp_path) if path != half] == [snapshot_path(main, 2, tmp_path).name]
    train_run(plan.run("schedule_restarts_cifar10", 0), settings)
    assert snapshots(tmp_path) == []


def test_a_seed_that_the_scale_does_not_list_trains_alone(tmp_path: Path, plan: Plan) -> None:
    for name in (MAIN, "ablation_full"):
        record = train_run(plan.run(name, 5), Settings(results=tmp_path, plan=plan))
        assert record.environment["shared"] is None
    assert snapshots(tmp_path) == []


def test_a_checkpoint_from_before_there_were_snapshots_goes_on(tmp_path: Path, plan: Plan, scratch: Path) -> None:
    main, settings = plan.run(MAIN, 0), Settings(results=tmp_path, plan=plan)
    with pytest.raises(Interrupted):
        train_run(main, replace(settings, stop=stop_after(6)))
    path = main.directory(tmp_path) / CHECKPOINT_NAME
    content = torch.load(path, weights_only=True)
    del content["shared"]
    torch.save(content, path)
    assert load_checkpoint(path.parent, {}, lambda checkpoint: None).epochs
    train_run(main, settings)
    assert_as_from_scratch(main, tmp_path, scratch)


def test_without_any_file_left_nothing_is_missed(tmp_path: Path, plan: Plan, scratch: Path) -> None:
    """A folder that vanishes between two runs, as when someone tidies up."""
    settings = Settings(results=tmp_path, plan=plan)
    train_run(plan.run(MAIN, 0), settings)
    shutil.rmtree(tmp_path / "smoke")
    train_run(plan.run("ablation_full", 0), settings)
    assert shared_of(assert_as_from_scratch(plan.run("ablation_full", 0), tmp_path, scratch)) == (None, None)
