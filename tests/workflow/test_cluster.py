"""What jobs ask of a cluster; and the profile for Slurm, on a real one of one node."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
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


Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Call, Path]]:
    """The profile as typed in a folder, on a cluster of one node; and what the cluster's daemons say."""
    if missing := what_is_missing():
        pytest.skip(missing)
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("needs snakemake-executor-plugin-slurm")
    place = tmp_path_factory.mktemp("slurm")
    with cluster(place) as within:

        def call(folder: Path, *targets: str) -> subprocess.CompletedProcess[str]:
            typed = ["snakemake", "--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"]
            typed += ["--slurm-init-seconds-before-status-checks", "5", "--cores", "2", *targets]
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            return subprocess.run(
                [*within(folder), *typed, "--config", "scale=smoke"],
                env={**os.environ, "PATH": path, "REPRO_DATA_DIR": str(folder / "no-data")},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
            )  # fmt: skip

        yield call, place / "said.txt"


@pytest.mark.slow
def test_scale_smoke_through_slurm(slurm: tuple[Call, Path], project: Path, tmp_path: Path, config: Config) -> None:
    """A group and what takes its weights: few jobs, as short runs share them."""
    call, daemons = slurm
    folder = copy_project(project, tmp_path / "suite")
    done = call(folder, "main", "ptq4_cifar10")
    assert done.returncode == 0, done.stdout[-6000:]
    plan = Plan(config, "smoke")
    runs = [plan.run(name, 0) for name in ("main_cifar10", "main_cifar100", "fp32_cifar10", "ptq4_cifar10")]
    assert {read_record(path).key for path in find_records(folder / "results")} == {run.key for run in runs}
    for run in runs:
        assert re.search(rf"\] {run.experiment} seed 0 ", done.stdout), done.stdout
    assert "done in" in done.stdout
    assert not list((folder / ".snakemake").glob("repro-*")), "nothing is left of the workflow's own process"
    jobs = re.findall(r"_slurm_rpc_submit_batch_job: JobId=(\d+)", daemons.read_text())
    assert len(jobs) == 2, "the trainings with their weights, then what is quantised"


@pytest.mark.slow
def test_a_failure_in_a_shared_job_is_a_row_and_the_rest_finishes(
    slurm: tuple[Call, Path], project: Path, tmp_path: Path
) -> None:
    """Real CIFAR-100 asked for and absent."""
    folder = copy_project(project, tmp_path / "suite")
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    del raw["scales"]["smoke"]["dataset_map"]["cifar100"]
    (folder / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    done = slurm[0](folder, "main")
    assert done.returncode != 0
    assert re.findall(r"^FAILED (.*): error: cifar100 is not here", done.stdout, re.M) == ["main_cifar100 seed 0"]
    assert "1 failed (main_cifar100 seed 0)" in done.stdout
    assert len(find_records(folder / "results")) == 1, "Snakemake deletes it with the output of its whole job"
    command = [sys.executable, "-m", "repro", "status", "--scale", "smoke"]
    states = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert re.search(r"main_cifar10 .* (finished|diverged) ", states)
    assert re.search(r"main_cifar100 .* failed ", states)
