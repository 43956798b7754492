"""The published anchors: their data against the configuration, and the verdicts on both sides of the tolerance."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from repro.analysis import Evidence, compare_published, load_evidence
from repro.analysis.evidence import NOT_RUN, RUN_COLUMNS
from repro.analysis.published import MISSED, REACHED
from repro.config import Config, Plan
from repro.paper import read_anchors

ANCHORS = {anchor.experiment: anchor for anchor in read_anchors() if anchor.experiment}


@pytest.fixture
def nothing(config: Config, tmp_path: Path) -> Evidence:
    return load_evidence(config, tmp_path)


def with_runs(evidence: Evidence, experiment: str, finals: list[float], scale: str = "paper_bf16") -> Evidence:
    rows = [
        {"scale": scale, "experiment": experiment, "seed": seed, "final_test_accuracy": final,
         "best_test_accuracy": final + 0.001}
        for seed, final in enumerate(finals)
    ]  # fmt: skip
    return replace(evidence, runs=pd.DataFrame(rows, columns=list(RUN_COLUMNS)))


def test_every_experiment_of_the_group_is_an_anchors(config: Config) -> None:
    group = [name for name, experiment in config.experiments.items() if experiment.group == "published"]
    assert sorted(group) == sorted(ANCHORS)
    for name in group:
        assert config.experiments[name].scales == ("paper_bf16", "paper")


def test_they_are_left_to_those_who_name_them(config: Config) -> None:
    for scale in config.scales:
        plan = Plan(config, scale)
        published = {run.key for run in plan if config.experiments[run.experiment].group == "published"}
        assert published == {run.key for run in plan} - {run.key for run in plan.default_runs}
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


def test_without_records_nothing_is_claimed(nothing: Evidence) -> None:
    rows = compare_published(nothing)
    assert list(rows["anchor"]) == [anchor.name for anchor in read_anchors()]
    assert set(rows["verdict"]) == {NOT_RUN}
    assert rows[["last", "best", "difference"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("finals", "verdict"),
    [([0.9067], REACHED), ([0.9065], MISSED), ([0.93], REACHED), ([0.90, 0.92], REACHED), ([0.93, math.nan], MISSED)],
)
def test_the_last_epoch_decides(nothing: Evidence, finals: list[float], verdict: str) -> None:
    """91.46 less 0.8 points is 90.66; means over seeds; a run that lost its numbers reaches nothing."""
    rows = compare_published(with_runs(nothing, "published_dorefa_w4_resnet20", finals)).set_index("experiment")
    row = rows.loc["published_dorefa_w4_resnet20"]
    assert (row["verdict"], row["n"], row["scale"]) == (verdict, len(finals), "paper_bf16")
    assert row["best"] > row["last"] or math.isnan(row["last"])
    assert rows.loc["published_fp32_resnet20", "verdict"] == NOT_RUN
