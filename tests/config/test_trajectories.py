"""Where runs that are one and the same part: by closed forms, before anything is trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro.config import Config, Plan
from repro.config.trajectories import departures, shared_epochs, snapshot_path, snapshots_of


@pytest.mark.parametrize(
    ("scale", "experiment", "expected"),
    [
        ("paper_bf16", "main_cifar10", [1, 6, 30, 100]),  # one cosine over 150, table V, anchor, ablation and restart
        ("paper_bf16", "main_cifar100", [1, 100]),
        ("paper_bf16", "ablation_full", [1, 6, 30, 100]),  # at its last epoch the main run goes on
        ("paper_bf16", "mobile_cifar10", [1, 6]),
        ("paper_bf16", "schedule_one_cosine_cifar10", [1]),
        ("paper_bf16", "fp32_cifar10", [30]),
        ("paper_bf16", "validated_main_cifar10", []),
        ("paper_bf16", "ptq4_cifar10", []),
        ("quick", "main_cifar10", [1, 8]),
        ("smoke", "main_cifar10", [1, 2]),
        ("short", "main_cifar10", [1, 6]),
    ],
)
def test_departures_of_the_registry(config: Config, scale: str, experiment: str, expected: list[int]) -> None:
    plan = Plan(config, scale)
    assert departures(plan.run(experiment, 0), plan) == expected


def test_another_seed_is_another_run(config: Config) -> None:
    plan = Plan(config, "paper_bf16")
    assert departures(plan.run("main_cifar10", 5), plan) == []


def test_what_sharing_saves_of_a_seed(config: Config) -> None:
    """Each run from the longest state that a run before it leaves."""
    before: list[Any] = []
    saved = 0
    for run in Plan(config, "paper_bf16"):
        if run.seed == 0:
            saved += max((shared_epochs(run.spec, spec) for spec in before), default=0)
            before.append(run.spec)
    assert saved == 3 * 100 + 100 + 6 + 2 * 30 + 7 * 1


def test_never_beyond_the_epoch_where_weights_are_to_be_kept(config: Config) -> None:
    main = Plan(config, "paper_bf16").run("main_cifar10", 0).spec
    longer = {**main, "epochs": 120}
    assert shared_epochs(longer, main) == shared_epochs(main, longer) == 100
    ends = {**main, "epochs": 100}
    assert shared_epochs(main, ends) == shared_epochs(ends, main) == 100
    restarts = {**main, "schedule": {"name": "cosine_restarts", "period": 100.0}}
    assert shared_epochs({**restarts, "epochs": 120}, restarts) == 120


@pytest.mark.parametrize("change", [{"batch_size": 64}, {"precision": "fp32"}, {"gradient_clip": None}])
def test_any_other_difference_shares_nothing(config: Config, change: dict[str, Any]) -> None:
    main = Plan(config, "paper_bf16").run("main_cifar10", 0).spec
    assert shared_epochs({**main, **change}, main) == 0


def test_a_snapshot_has_one_path_for_all_that_share_it_and_no_other(config: Config, tmp_path: Path) -> None:
    plan = Plan(config, "paper_bf16")
    names = ("main_cifar10", "ablation_full", "schedule_restarts_cifar10", "schedule_one_cosine_cifar10")
    main, ablation, restarts, one_cosine = (plan.run(name, 0) for name in names)
    at_100 = {snapshot_path(run, 100, tmp_path) for run in (main, ablation, restarts)}
    assert len(at_100) == 1
    assert snapshot_path(one_cosine, 100, tmp_path) not in at_100
    assert snapshot_path(one_cosine, 1, tmp_path) == snapshot_path(main, 1, tmp_path)
    assert snapshot_path(replace(main, seed=1), 100, tmp_path) not in at_100
    for epochs in (6, 100):
        snapshot_path(main, epochs, tmp_path).parent.mkdir(parents=True, exist_ok=True)
        snapshot_path(main, epochs, tmp_path).touch()
    assert [epochs for epochs, _ in snapshots_of(restarts, tmp_path)] == [100, 6]
    assert snapshots_of(one_cosine, tmp_path) == []
