"""The DAG as a user meets it: everything once, nothing twice, one block one run, failures that lose nothing."""

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from repro.config import Plan, load_config
from repro.records import find_records, read_record
from tests.conftest import PROJECT, comes_true

from .conftest import copy_project, snakemake


def jobs(output: str) -> dict[str, int]:
    """Snakemake's table of jobs to run."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}


def shuffle_file_times(folder: Path, seed: int) -> None:
    generator = random.Random(seed)
    for path in sorted(folder.rglob("*")):
        stamp = 1_600_000_000 + generator.randrange(10**8)
        os.utime(path, (stamp, stamp), follow_symlinks=False)


def add_block(folder: Path, block: str) -> None:
    with (folder / "config.yaml").open("a") as file:
        file.write(block)


def smoke_runs() -> int:
    """Runs of the default job, as many as the registry asks for."""
    return len(Plan(load_config(PROJECT / "config.yaml"), "smoke").default_runs)


def test_everything_ran(smoke_project: Path) -> None:
    plan = Plan(load_config(smoke_project / "config.yaml"), "smoke")
    records = {read_record(path).key for path in find_records(smoke_project / "results")}
    assert records == {run.key for run in plan.default_runs}
    page = (smoke_project / "report" / "index.html").read_text()
    for run in plan.default_runs:
        assert run.experiment in page
    assert (smoke_project / "mlflow.db").exists()
    ablation = read_record(plan.run("ablation_full", 0).record_path(smoke_project / "results"))
    assert ablation.environment["shared"]["epochs"] == 2, "the main run came first"
    assert not list(smoke_project.glob("results/**/.*snapshot*"))
    assert f"{len(records)} added" in (smoke_project / "results" / ".mlflow-smoke.txt").read_text()


@pytest.mark.parametrize(("typed", "seeds"), [("seeds=[0,1,2]", {0, 1, 2}), ("seeds=[0, 2]", {0, 2}), ("seeds=7", {7})])
def test_seeds_as_typed(project: Path, tmp_path: Path, typed: str, seeds: set[int]) -> None:
    """Snakemake hands a list over as texts."""
    result = snakemake(copy_project(project, tmp_path / "clone"), "-n", "-p", "mobile", config=[typed])
    assert result.returncode == 0, result.stdout
    assert {int(seed) for seed in re.findall(r"mobile_cifar10/seed(\d+)-", result.stdout)} == seeds


def test_a_seed_that_is_none_is_refused_in_words(project: Path, tmp_path: Path) -> None:
    result = snakemake(copy_project(project, tmp_path / "clone"), "-n", config=["seeds=[0,one]"])
    assert result.returncode == 1
    assert "seeds: [0, 'one'] is not allowed; expected a list of at least one: an integer >= 0" in result.stdout
    assert "Traceback" not in result.stdout


def test_again_is_nothing_to_do(smoke_project: Path) -> None:
    result = snakemake(smoke_project)
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout


@pytest.mark.parametrize("seed", range(3))
def test_a_clone_with_records_trains_nothing(cached: Path, seed: int) -> None:
    """No data, no .snakemake/, no weights, file times in any order."""
    shuffle_file_times(cached, seed)
    planned = jobs(snakemake(cached, "-n").stdout)
    assert planned == {"all": 1, "report": 1, "track": 1, "total": 3}


def test_a_clone_with_records_builds_the_report(cached: Path) -> None:
    shuffle_file_times(cached, seed=7)
    before = {path: path.read_bytes() for path in find_records(cached / "results")}
    result = snakemake(cached)
    assert result.returncode == 0, result.stdout
    assert (cached / "report" / "index.html").exists()
    assert {path: path.read_bytes() for path in find_records(cached / "results")} == before
    assert "Nothing to be done" in snakemake(cached).stdout


def test_one_block_trains_one_run_and_shows(cached: Path, project: Path) -> None:
    """The block is the README's."""
    block = re.search(r"```yaml\n(  ablation_no_dropout:.*?)```", (project / "README.md").read_text(), re.DOTALL)
    add_block(cached, "\n" + block[1])
    assert jobs(snakemake(cached, "-n").stdout)["train"] == 1
    before = set(find_records(cached / "results"))
    result = snakemake(cached)
    assert result.returncode == 0, result.stdout[-4000:]
    (new,) = set(find_records(cached / "results")) - before
    record = read_record(new)
    assert (record.experiment, record.spec["model"]["dropout"]) == ("ablation_no_dropout", 0.0)
    table = next((cached / "report" / "tables").glob("table7.csv"))
    assert "w/o dropout" in table.read_text()
    assert len(pd.read_csv(table)) >= 10
    figure = next((cached / "report" / "figures").glob("ablation.svg"))
    assert "w/o dropout" in figure.read_text()


def test_a_block_with_the_settings_of_another_shows_without_training(cached: Path) -> None:
    add_block(cached, "\n  ablation_again:\n    group: ablation\n    title: the same again\n    epochs: 100\n")
    before = set(find_records(cached / "results"))
    result = snakemake(cached)
    assert result.returncode == 0, result.stdout
    assert set(find_records(cached / "results")) == before
    assert "the same again" in (cached / "report" / "tables" / "table7.csv").read_text()


def test_records_of_other_scales_are_never_made_again(cached: Path) -> None:
    """Not even when everything is forced: they may be evidence that this machine cannot make."""
    source = next(cached.glob("results/smoke/main_cifar10/*"))
    shutil.copytree(source, cached / "results" / "paper" / "main_cifar10" / "seed0-00000000")
    result = snakemake(cached, "-n", "-p", "-F")
    assert jobs(result.stdout)["train"] == smoke_runs()
    assert "results/paper/main_cifar10" in result.stdout
    assert not re.search(r"output: results/paper", result.stdout)


def test_a_folder_with_a_space_in_its_name(cached: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    shutil.move(cached, folder)
    assert snakemake(folder, "report").returncode == 0


def test_snakemakes_own_report_has_page_figures_and_tables(smoke_project: Path, tmp_path: Path) -> None:
    result = snakemake(smoke_project, "--report", str(tmp_path / "workflow.html"))
    assert result.returncode == 0, result.stdout
    for name in ("index.html", "figure3.svg", "table7.csv"):
        assert f"Adding {name}" in result.stdout
    assert (tmp_path / "workflow.html").stat().st_size > 10**6


def test_a_deleted_record_trains_once(cached: Path) -> None:
    next(cached.glob("results/smoke/ablation_full/*/record.json")).unlink()
    assert jobs(snakemake(cached, "-n").stdout)["train"] == 1


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="forks need Linux")
def test_runs_are_forked_from_one_process_that_ends_with_the_workflow(
    cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("main_cifar10", "main_cifar100"):
        shutil.rmtree(cached / "results" / "smoke" / name)
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # a process names what it imports, on standard error
    result = snakemake(cached, "main")
    assert result.returncode == 0, result.stdout[-4000:]
    logs = [path.read_text() for path in cached.glob("logs/smoke/main_*/*.log")]
    assert len(logs) == 2
    for log in logs:
        assert "epoch 3/3: train" in log
        assert "repro.forking" in log
        assert not re.search(r"^import time:.*\| +torch$", log, re.MULTILINE)
    assert comes_true(lambda: not list(cached.glob(".snakemake/*.socket")))


def test_an_edited_setting_trains_what_it_touches(cached: Path) -> None:
    raw = yaml.safe_load((cached / "config.yaml").read_text())
    raw["experiments"]["ablation_full"]["batch_size"] = 64
    (cached / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    assert jobs(snakemake(cached, "-n").stdout)["train"] == 1
    raw["defaults"]["optimizer"]["learning_rate"] = 0.002
    (cached / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    assert jobs(snakemake(cached, "-n").stdout)["train"] == smoke_runs()


def test_an_edited_shell_line_trains_nothing(smoke_project: Path, tmp_path: Path) -> None:
    """Also where .snakemake/ remembers the old line."""
    folder = tmp_path / "copy"
    shutil.copytree(smoke_project, folder, symlinks=True)
    snakefile = folder / "Snakefile"
    snakefile.write_text(snakefile.read_text().replace(">> {log} 2>&1", ">>{log} 2>&1"))
    assert "train" not in jobs(snakemake(folder, "-n").stdout)


def test_groups_are_targets(cached: Path) -> None:
    shutil.rmtree(cached / "results")
    counts = {"main": 2, "ablation": 9, "schedules": 6, "fp32": 3, "mobile": 1, "validated": 4, "ptq": 8}
    for group, count in counts.items():
        assert jobs(snakemake(cached, "-n", group).stdout)["train"] == count


def test_a_single_experiment_is_a_target(project: Path, tmp_path: Path) -> None:
    result = snakemake(copy_project(project, tmp_path / "clone"), "-n", "mobile_cifar10", "ptq4_cifar10")
    assert jobs(result.stdout) == {"train": 3, "weights": 1, "mobile_cifar10": 1, "ptq4_cifar10": 1, "total": 6}


def test_the_suite_is_a_module_of_another_workflow(project: Path, tmp_path: Path) -> None:
    """The Snakefile is the document's, from another folder."""
    text = (project / "docs" / "workflow.md").read_text()
    module = re.search(r"```python\n(module.*?)```", text, re.DOTALL)[1]
    (tmp_path / "Snakefile").write_text(module.replace("PATH/OF/THE/CLONE", str(project)))
    shutil.copy(project / "config.yaml", tmp_path)
    planned = jobs(snakemake(tmp_path, "-n").stdout)
    assert planned["suite_train"] == smoke_runs()
    assert planned["suite_report"] == planned["suite_all"] == 1
    line = re.search(r"`snakemake (--cores 4 suite_.*?) --config scale=smoke`", text)[1]
    result = snakemake(tmp_path, *line.split())
    assert result.returncode == 0, result.stdout
    (record,) = find_records(tmp_path / "results")
    assert read_record(record).experiment == "mobile_cifar10"


def test_a_failure_is_shown_and_the_report_is_built_all_the_same(cached: Path) -> None:
    """Real CIFAR asked for and absent: snakemake fails, says why, and loses nothing."""
    raw = yaml.safe_load((cached / "config.yaml").read_text())
    del raw["scales"]["smoke"]["dataset_map"]["cifar100"]
    (cached / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    result = snakemake(cached, "main")
    assert result.returncode != 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    assert line.startswith("FAILED main_cifar100 seed 0: error: cifar100 is not here")
    assert "python -m repro data cifar100 --download" in line
    assert "1 failed (main_cifar100 seed 0)" in result.stdout
    assert "RuleException" not in result.stdout
    page = (cached / "report" / "index.html").read_text()
    assert "not run" in page
    assert "Failed runs" in page
    failed = pd.read_csv(cached / "report" / "tables" / "failed.csv")
    assert failed["path"].str.startswith("smoke/main_cifar100/seed0-").all()
    assert failed["error"].str.startswith("error: cifar100 is not here").all()
    assert len(find_records(cached / "results")) == smoke_runs()
    command = [sys.executable, "-m", "repro", "status", "--scale", "smoke"]
    status = subprocess.run(command, cwd=cached, capture_output=True, text=True, check=True)
    assert re.search(r"main_cifar100.* failed ", status.stdout)
    assert "main_cifar100 seed 0 failed: error: cifar100 is not here" in status.stderr


def test_a_config_mistake_is_a_message(cached: Path) -> None:
    add_block(cached, "\n  oops:\n    group: ablation\n    title: t\n    epochz: 3\n")
    result = snakemake(cached, "-n")
    assert result.returncode != 0
    assert "experiments.oops.epochz: unknown key 'epochz'; did you mean 'epochs'?" in result.stdout


def test_a_job_planned_for_another_configuration_is_refused(cached: Path) -> None:
    command = [sys.executable, "-m", "repro", "train", "main_cifar10", "--scale", "smoke", "--expect-spec", "00000000"]
    result = subprocess.run(command, cwd=cached, capture_output=True, text=True)
    assert result.returncode == 1
    assert "was edited while it ran" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_home_an_ascii_terminal_and_a_strict_umask(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run and its PTQ, as a service would start them."""
    monkeypatch.delenv("HOME", raising=False)
    for name, value in {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        result = snakemake(copy_project(project, tmp_path / "clone"), "ptq4_cifar10")
    finally:
        os.umask(before)
    assert result.returncode == 0, result.stdout[-4000:]
    assert "Traceback" not in result.stdout
    assert len(find_records(tmp_path / "clone" / "results")) == 2


def test_snakefile_stays_small(project: Path) -> None:
    assert len((project / "Snakefile").read_text().splitlines()) <= 100
