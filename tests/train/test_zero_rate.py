"""Weights where the schedule has brought the rate to zero, before the run's end: they cannot be had afterwards."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from repro.config import Config, Plan, Run
from repro.config.runs import ZERO_RATE_WEIGHTS_NAME
from repro.records import read_csv_rows
from repro.train import Interrupted, Settings, restore_weights, train_run
from repro.train.checkpoint import WEIGHTS_NAME


def load(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=True)


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_they_are_those_of_the_run_that_ends_there(tmp_path: Path, config: Config) -> None:
    """The full ablation is the main run up to that epoch, so its last weights are an independent oracle."""
    plan = Plan(config, "smoke")
    main, ends_there = plan.run("main_cifar10", 0), plan.run("ablation_full", 0)
    record = train_run(main, Settings(results=tmp_path))
    other = train_run(ends_there, Settings(results=tmp_path))
    folder = main.directory(tmp_path)
    assert (record.summary["zero_rate_epoch"], other.summary["zero_rate_epoch"]) == (2, None)
    assert float(read_csv_rows(folder / "epochs.csv")[2]["learning_rate"]) == 0
    kept = load(folder, ZERO_RATE_WEIGHTS_NAME)
    assert_equal(kept, load(ends_there.directory(tmp_path), WEIGHTS_NAME))
    assert any(not torch.equal(kept[key], value) for key, value in load(folder, WEIGHTS_NAME).items())
    assert not (ends_there.directory(tmp_path) / ZERO_RATE_WEIGHTS_NAME).exists()
    assert not list(tmp_path.glob("**/.*.part"))


@pytest.mark.parametrize("steps", [7, 9])  # in the epoch before, and in the epoch that trains at rate zero
def test_they_survive_a_stop(tmp_path: Path, tiny_run: Callable[..., Run], steps: int) -> None:
    run = tiny_run(batch_size=64)
    train_run(run, Settings(results=tmp_path / "whole"))
    count = iter(range(1, 10**9))
    with pytest.raises(Interrupted):
        train_run(run, Settings(results=tmp_path / "parts", stop=lambda: next(count) >= steps))
    record = train_run(run, Settings(results=tmp_path / "parts"))
    assert record.summary["zero_rate_epoch"] == 2
    whole, parts = (run.directory(tmp_path / name) for name in ("whole", "parts"))
    assert_equal(load(whole, ZERO_RATE_WEIGHTS_NAME), load(parts, ZERO_RATE_WEIGHTS_NAME))


def test_a_clone_gets_them_back_with_the_others(tmp_path: Path, tiny_run: Callable[..., Run]) -> None:
    run = tiny_run()
    train_run(run, Settings(results=tmp_path))
    folder = run.directory(tmp_path)
    before = load(folder, ZERO_RATE_WEIGHTS_NAME)
    for path in folder.glob("*.pt"):
        path.unlink()
    assert restore_weights(run, Settings(results=tmp_path)) == folder / WEIGHTS_NAME
    assert_equal(before, load(folder, ZERO_RATE_WEIGHTS_NAME))


def test_a_run_that_loses_its_numbers_before_has_none(tmp_path: Path, tiny_run: Callable[..., Run]) -> None:
    run = tiny_run("fp32_plain_cifar10")
    run.spec["optimizer"]["learning_rate"] = 1e30
    record = train_run(run, Settings(results=tmp_path))
    assert (record.status, record.summary["zero_rate_epoch"]) == ("diverged", None)
