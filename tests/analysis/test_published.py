"""The published anchors: their data against the configuration, and the verdicts on both sides of the tolerance."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from repro.analysis import judge_published, load_evidence
from repro.analysis.evidence import NOT_RUN, RUN_COLUMNS
from repro.analysis.published import MISSED, REACHED
from repro.config import Config, Plan
from repro.paper import read_anchors
from repro.report.tables.published import PUBLISHED_NUMBERS
from repro.report.view import Records

ANCHORS = {anchor.experiment: anchor for anchor in read_anchors() if anchor.experiment}


def test_every_experiment_of_the_group_is_an_anchors(config: Config) -> None:
    group = [name for name, experiment in config.experiments.items() if experiment.group == "published"]
    assert sorted(group) == sorted(ANCHORS)
    for name in group:
        assert config.experiments[name].scales == ("paper_bf16", "paper")


def test_they_are_left_to_those_who_name_them(config: Config) -> None:
    for scale in config.scales:
        plan = Plan(config, scale)
        published = {run.key for run in plan if config.experiments[run.experiment].group == "published"}
        assert not published & {run.key for run in plan.default_runs}
        assert bool(published) == (scale in ("paper_bf16", "paper"))


@pytest.mark.parametrize("name", [name for name, anchor in ANCHORS.items() if not anchor.protocol.startswith("As ")])
def test_the_experiment_is_as_long_as_the_protocol_says(config: Config, name: str) -> None:
    spec = Plan(config, "paper_bf16").run(name, 0).spec
    assert f"{spec['epochs']} epochs" in ANCHORS[name].protocol
    assert f"batch {spec['batch_size']}" in ANCHORS[name].protocol


def test_the_tolerance_is_two_standard_errors_of_a_difference() -> None:
    lowest = min(anchor.accuracy for anchor in read_anchors())
    error = 2 * math.sqrt(2 * lowest * (1 - lowest) / 10_000)
    assert all(anchor.tolerance == pytest.approx(error, abs=5e-4) for anchor in read_anchors())


@pytest.mark.parametrize(
    ("finals", "verdict"),
    [
        ([], NOT_RUN), ([0.9067], REACHED), ([0.9065], MISSED), ([0.93], REACHED), ([0.90, 0.92], REACHED),
        ([0.93, math.nan], MISSED),
    ],
)  # fmt: skip
def test_the_last_epoch_decides(finals: list[float], verdict: str) -> None:
    """91.46 less 0.8 points is 90.66; means over seeds; a run that lost its numbers reaches nothing."""
    runs = pd.DataFrame({"final_test_accuracy": finals, "best_test_accuracy": [0.99] * len(finals)})
    assert judge_published(ANCHORS["published_dorefa_w4_resnet20"], runs) == verdict


def test_the_report_sets_them_beside_the_runs(config: Config, tmp_path: Path) -> None:
    """Without records every row is a gap, with one it has its accuracy, difference and verdict."""
    evidence = load_evidence(config, tmp_path)
    run = {"scale": "paper_bf16", "experiment": "published_fp32_resnet20", "seed": 0, "final_test_accuracy": 0.9,
           "best_test_accuracy": 0.91, "test_images": 10_000, "status": "completed", "data": "cifar10", "epochs": 200,
           "precision": "bf16"}  # fmt: skip
    runs = pd.DataFrame([run], columns=list(RUN_COLUMNS))
    for found, verdicts in ((evidence, [NOT_RUN]), (replace(evidence, runs=runs), [NOT_RUN, MISSED])):
        grid = PUBLISHED_NUMBERS.grid(PUBLISHED_NUMBERS.views(Records(found))[0])
        assert {cell.text for cell in grid.column("verdict")} == set(verdicts)
    place = [row.experiment for row in grid.rows].index("published_fp32_resnet20")
    assert grid.column("difference")[place].value == pytest.approx(90 - 92.13)
    assert grid.column("final_test_accuracy")[place].value == pytest.approx(90)
