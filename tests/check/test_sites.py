"""Results of several sites, merged by copying folders over each other: overlapping runs, a stale one, lost weights."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from repro.config import Plan, Run, hash_spec, load_config
from repro.records import EPOCHS_NAME, LAYERS_NAME, find_records, read_csv_rows, read_record, write_record
from repro.records.record import COPY_NAME
from repro.tracking.content import KEY_TAG
from repro.train import Settings, train_run
from tests.conftest import PROJECT

BOTH = "main_cifar10"  # trained at either site


def repro(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "repro", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def make_site(folder: Path, runs: list[Run], machine: str) -> Path:
    """A folder in which some runs were trained, by its own machine."""
    for run in runs:
        record = train_run(run, Settings(results=folder / "results", threads=1))
        rows = [read_csv_rows(run.directory(folder / "results") / name) for name in (EPOCHS_NAME, LAYERS_NAME)]
        elsewhere = replace(record, environment={**record.environment, "processor": machine})
        write_record(run.directory(folder / "results"), elsewhere, *rows)
    shutil.copy(PROJECT / "config.yaml", folder)
    return folder


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(load_config(PROJECT / "config.yaml"), "smoke")


@pytest.fixture(scope="module")
def sites(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One with the run that both have and FP32; one with that run, a second seed of it, and a run of an older
    configuration."""
    folder = tmp_path_factory.mktemp("sites")
    both = plan.run(BOTH, 0)
    spec = {**both.spec, "batch_size": 64}
    older = replace(both, spec=spec, spec_hash=hash_spec(spec))
    here = make_site(folder / "here", [both, plan.run("fp32_cifar10", 0)], "a processor here")
    there = make_site(folder / "there", [both, plan.run(BOTH, 1), older], "another one there")
    return here, there


def merged(folder: Path, first: Path, second: Path) -> Path:
    """As anybody would: the folders copied into one, the second over the first."""
    for site in (first, second):
        shutil.copytree(site, folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_run_that_both_have_one_is_kept_whole(
    plan: Plan, sites: tuple[Path, Path], tmp_path: Path, order: int
) -> None:
    first, second = sites[::order]
    kept = read_record(plan.run(BOTH, 0).record_path(merged(tmp_path / "all", first, second) / "results"))
    assert kept == read_record(plan.run(BOTH, 0).record_path(second / "results"))
    assert kept != read_record(plan.run(BOTH, 0).record_path(first / "results"))


def test_every_run_is_there_once_and_the_stale_one_stands_aside(
    plan: Plan, sites: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = merged(tmp_path / "all", *sites)
    assert repro(folder, "track").returncode == 0
    done = repro(folder, "report")
    assert done.returncode == 0, done.stderr
    tables = folder / "report" / "tables"
    (stale,) = pd.read_csv(tables / "stale.csv")["spec_hash"]
    assert stale not in {run.spec_hash for run in plan}
    runs = (plan.run(BOTH, 0), plan.run(BOTH, 1), plan.run("fp32_cifar10", 0))
    assert set(pd.read_csv(tables / "runs.csv")["run"]) == {run.key for run in runs}
    states = repro(folder, "status", "--scale", "smoke").stdout
    assert re.search(r"main_cifar10 .* 0 +(finished|diverged)", states)
    assert re.search(r"fp32_cifar10 .* 0 +(finished|diverged)", states)

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("repro-smoke").experiment_id])
    keys = [run.data.tags[KEY_TAG] for run in found if "kind" not in run.data.tags]
    assert sorted(keys) == sorted({read_record(path).key for path in find_records(folder / "results")})


def test_a_record_over_other_weights_is_noticed_by_who_takes_them(
    plan: Plan, sites: tuple[Path, Path], tmp_path: Path
) -> None:
    """Weights do not travel with a record: those of the run that was there before are not the new record's."""
    folder, run = shutil.copytree(sites[0], tmp_path / "all"), plan.run(BOTH, 0)
    directory = run.directory(folder / "results")
    other = read_record(run.record_path(sites[1] / "results"))
    summary = {**other.summary, "weights_sha256": "0" * 64}  # of a machine whose last bits differ
    rows = [read_csv_rows(directory / name) for name in (EPOCHS_NAME, LAYERS_NAME)]
    write_record(directory, replace(other, summary=summary), *rows)
    (directory / COPY_NAME).unlink()
    done = repro(folder, "export", BOTH, "--scale", "smoke")
    assert done.returncode == 1
    assert "not the weights of the record beside it" in done.stderr
    assert "Traceback" not in done.stderr
