"""Several runs in one process: each as if it were alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from repro.config import Run
from repro.errors import ReproError
from repro.records import Record
from repro.train import Interrupted, RunBusyError, Settings, train_run, train_together
from repro.train.checkpoint import WEIGHTS_NAME

MakeRun = Callable[..., Run]


def weights(results: Path, run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.directory(results) / WEIGHTS_NAME, weights_only=True)


def test_in_turns_every_run_has_the_bits_it_has_alone(tmp_path: Path, tiny_run: MakeRun) -> None:
    """Dropout, sample order and quantiser of one run must not depend on who else trains, nor on how long."""
    runs = [
        tiny_run(seed=0),
        tiny_run(seed=1, epochs=3),
        tiny_run("fp32_cifar10"),
        tiny_run("ablation_scale_global"),
    ]
    for run in runs:
        train_run(run, Settings(results=tmp_path / "alone"))
    results = list(train_together(runs, lambda run: Settings(results=tmp_path / "together"), at_once=3))
    assert {run.key for run, _ in results} == {run.key for run in runs}
    for run, record in results:
        assert isinstance(record, Record)
        alone, together = weights(tmp_path / "alone", run), weights(tmp_path / "together", run)
        assert all(torch.equal(alone[name], together[name]) for name in alone)


def test_no_more_than_asked_for_are_under_way(tmp_path: Path, tiny_run: MakeRun) -> None:
    runs = [tiny_run(seed=seed) for seed in range(3)]
    under_way: list[int] = []

    def stop() -> bool:
        under_way.append(len(list(tmp_path.glob("**/.lock"))) - len(list(tmp_path.glob("**/record.json"))))
        return False

    assert len(list(train_together(runs, lambda run: Settings(results=tmp_path, stop=stop), at_once=2))) == 3
    assert max(under_way) == 2


def test_an_error_ends_one_run_and_no_other(tmp_path: Path, tiny_run: MakeRun) -> None:
    good, bad = tiny_run(), tiny_run("fp32_cifar10")
    bad.directory(tmp_path).parent.mkdir(parents=True)
    bad.directory(tmp_path).write_text("in the way")
    results = {run.key: result for run, result in train_together([bad, good], lambda r: Settings(results=tmp_path), 2)}
    assert isinstance(results[good.key], Record)
    assert isinstance(results[bad.key], ReproError)
    assert not isinstance(results[bad.key], RunBusyError)


def test_a_stop_reaches_all_and_starts_no_other(tmp_path: Path, tiny_run: MakeRun) -> None:
    runs = [tiny_run(seed=seed) for seed in range(3)]
    calls = iter([False] * 3 + [True] * 10)
    settings = Settings(results=tmp_path, stop=lambda: next(calls))
    results = list(train_together(runs, lambda run: settings, at_once=2))
    assert [run.seed for run, _ in results] == [0, 1]
    assert all(isinstance(result, Interrupted) for _, result in results)
    assert all((run.directory(tmp_path) / "checkpoint.pt").exists() for run, _ in results)
    assert not runs[2].directory(tmp_path).exists()
    again = train_together(runs, lambda run: Settings(results=tmp_path), at_once=2)
    assert all(isinstance(result, Record) for _, result in again)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_dropout_is_not_the_processes(tmp_path: Path, tiny_run: MakeRun, precision: str) -> None:
    """Whatever else draws random numbers meanwhile."""
    run = tiny_run(precision=precision)
    train_run(run, Settings(results=tmp_path / "quiet"))
    train_run(run, Settings(results=tmp_path / "noisy", stop=lambda: bool(torch.rand(3).sum() < 0)))
    quiet, noisy = weights(tmp_path / "quiet", run), weights(tmp_path / "noisy", run)
    assert all(torch.equal(quiet[name], noisy[name]) for name in quiet)
