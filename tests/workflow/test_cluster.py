"""What jobs ask of a cluster; and the profile for Slurm, on a real one of one node."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from repro.cluster import MARGIN, NOTHING, SHORTEST_MINUTES, UNKNOWN_BYTES, Demands
from repro.config import Config, Plan, Run
from repro.records import find_records, read_record
from tests.report.report_factory import RecordFactory

from .conftest import copy_project
from .slurm import cluster, what_is_missing

SECONDS_OF_AN_IMAGE = 1e-3


def demands(config: Config, scale: str, results: Path, monkeypatch: pytest.MonkeyPatch, **workflow: object) -> Demands:
    """As in a workflow that hands its jobs to a cluster, with a machine of known speed."""
    monkeypatch.setattr("repro.cluster.probe", lambda run: {"train": SECONDS_OF_AN_IMAGE, "evaluate": 0.0})
    like = {"is_main_process": True, "local_exec": False, "cores": 8, "localrules": lambda *rules: None}
    return Demands(Plan(config, scale), SimpleNamespace(**{**like, **workflow}), results)


def job(run: Run) -> SimpleNamespace:
    return SimpleNamespace(experiment=run.experiment, seed=str(run.seed))


def test_time_and_memory_follow_the_estimates(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, run = demands(config, "paper", tmp_path, monkeypatch), Plan(config, "paper").run("main_cifar10", 0)
    minutes = asked.minutes(job(run), 1, "train")
    assert minutes == pytest.approx(MARGIN * SECONDS_OF_AN_IMAGE * 50_000 * run.spec["epochs"] / 60, abs=1)
    assert asked.minutes(job(run), 2, "train") == 2 * minutes
    assert asked.megabytes(job(run), 1) == MARGIN * UNKNOWN_BYTES / 1e6
    assert asked.megabytes(job(run), 2) == 2 * asked.megabytes(job(run), 1)
    assert asked.threads(job(run)) == run.torch_threads
    factory = RecordFactory(config, tmp_path)
    factory.write("main_cifar10", "paper")
    (path,) = find_records(tmp_path)
    peak = read_record(path).environment.get("peak_memory_bytes")
    known = demands(config, "paper", tmp_path, monkeypatch)
    assert known.megabytes(job(run), 1) == round(MARGIN * (peak or UNKNOWN_BYTES) / 1e6)


def test_who_looks_for_weights_asks_for_a_training_only_where_they_are_gone(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, run = demands(config, "paper", tmp_path, monkeypatch), Plan(config, "paper").run("fp32_cifar10", 0)
    assert asked.minutes(job(run), 1, "weights") == SHORTEST_MINUTES, "the training before has made them"
    RecordFactory(config, tmp_path).write("fp32_cifar10", "paper")
    assert asked.minutes(job(run), 1, "weights") == asked.minutes(job(run), 1, "train") > SHORTEST_MINUTES
    run.weights_path(tmp_path).touch()
    assert asked.minutes(job(run), 1, "weights") == SHORTEST_MINUTES


def test_short_runs_share_an_allocation_and_no_group_waits_for_itself(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scale in config.scales:
        asked, plan = demands(config, scale, tmp_path, monkeypatch), Plan(config, scale)
        groups = {run.key: asked.group(job(run)) for run in plan}
        assert None not in groups.values()
        for run in plan:
            source = plan.source(run)
            if source is not None:
                assert groups[run.key] != groups[source.key]
        if scale == "smoke":
            assert {"short0", "short1"} <= set(groups.values())
            profile = yaml.safe_load(Path("profiles/slurm/config.yaml").read_text())
            assert {entry.partition("=")[0] for entry in profile["group-components"]} >= set(groups.values())
        if scale == "paper":
            assert groups[plan.run("main_cifar10", 0).key] == "main_cifar10_seed0"


@pytest.mark.parametrize(("workflow", "group"), [({"local_exec": True}, None), ({"is_main_process": False}, "short0")])
def test_one_machine_and_a_node_ask_for_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workflow: dict[str, bool], group: str | None
) -> None:
    """On a node all jobs that came there belong together."""
    asked = demands(config, "paper", tmp_path, monkeypatch, **workflow)
    run = Plan(config, "paper").run("main_cifar10", 0)
    assert asked.minutes(job(run), 1, "train") == asked.megabytes(job(run), 1) == NOTHING
    assert asked.group(job(run)) == group


def test_the_profile_has_what_the_default_one_has(project: Path) -> None:
    default, slurm = (
        yaml.safe_load((project / "profiles" / name / "config.yaml").read_text()) for name in ("default", "slurm")
    )
    assert {key: slurm.get(key) for key in default if key != "resources"} == {
        key: value for key, value in default.items() if key != "resources"
    }


@pytest.fixture(scope="module")
def ran(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the profile ran one group of scale smoke and what takes weights, and what it said."""
    if missing := what_is_missing():
        pytest.skip(missing)
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("needs snakemake-executor-plugin-slurm")
    folder = copy_project(project, tmp_path_factory.mktemp("slurm") / "suite")
    with cluster(folder.parent / "cluster") as within:
        typed = ["snakemake", "--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"]
        typed += ["--slurm-init-seconds-before-status-checks", "5", "--cores", "2", "main", "ptq4_cifar10"]
        typed += ["--config", "scale=smoke"]
        done = subprocess.run(
            [*within(folder), *typed],
            env={**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    return folder, done.stdout


@pytest.mark.slow
def test_scale_smoke_through_slurm(ran: tuple[Path, str], config: Config) -> None:
    folder, said = ran
    plan = Plan(config, "smoke")
    runs = [plan.run(name, 0) for name in ("main_cifar10", "main_cifar100", "fp32_cifar10", "ptq4_cifar10")]
    assert {read_record(path).key for path in find_records(folder / "results")} == {run.key for run in runs}
    for run in runs:
        assert re.search(rf"\] {run.experiment} seed 0 ", said), said
    assert "done in" in said
    assert not list((folder / ".snakemake").glob("repro-*")), "nothing is left of the workflow's own process"


@pytest.mark.slow
def test_short_runs_went_as_few_jobs(ran: tuple[Path, str]) -> None:
    folder, _ = ran
    log = (folder.parent / "cluster" / "said.txt").read_text()
    jobs = set(re.findall(r"_slurm_rpc_submit_batch_job: JobId=(\d+)", log))
    assert len(jobs) == 2, "the trainings with their weights, then what is quantised"
