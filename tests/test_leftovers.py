"""What kills leave is named and removed; what anybody may need stays."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from repro.config import Plan, Run, load_config
from repro.leftovers import SIDE_FOLDER
from repro.live import FOLDER, LOCKS, begin_workflow
from repro.records import CHECKPOINT_NAME, FORMER_CHECKPOINT_NAME, LOCK_NAME, read_record
from repro.records.files import MACHINE, abandoned, atomic_write, holder
from repro.train import Interrupted, RunBusyError, Settings, train_run
from tests.conftest import PROJECT

Busy = Callable[[float], tuple[Run, "subprocess.Popen[bytes]"]]
DEAD = 4_194_304  # one more than any process has on Linux
# What Snakemake tells of itself: the process that a user started, and one that it started for a job
WORKFLOW, JOB = (
    SimpleNamespace(is_main_process=main, resource_settings=SimpleNamespace(cores=2)) for main in (True, False)
)


@pytest.fixture
def plan() -> Plan:
    return Plan(load_config(PROJECT / "config.yaml"), "smoke")


@pytest.fixture
def left(plan: Plan, tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """A finished run in a folder where processes were killed: what can go, and what must stay."""
    results = tmp_path / "results"
    run, other = plan.run("main_cifar10", 0), plan.run("fp32_cifar10", 0)
    train_run(run, Settings(results=results))
    folder, beside = run.directory(results), other.directory(results)
    beside.mkdir(parents=True)
    scale = results / "smoke"
    gone = [
        folder / CHECKPOINT_NAME, folder / FORMER_CHECKPOINT_NAME, folder / f".record.json.{MACHINE}-{DEAD}.x.part",
        scale / ".snapshot-0a-0b-seed0-epoch1.pt", scale / f".snapshot-x.{MACHINE}-{DEAD}.y.part",
        tmp_path / "report" / "tables" / f".runs.csv.{MACHINE}-{DEAD}.z.part",
        run.directory(results / SIDE_FOLDER) / CHECKPOINT_NAME,
    ]  # fmt: skip
    stays = [
        beside / CHECKPOINT_NAME,
        folder / f".epochs.csv.{MACHINE}-{os.getpid()}.x.part",
        folder / ".x.0a-1.y.part",
    ]
    for path in (*gone, *stays):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left")
    return gone, [*stays, folder / "weights.pt", run.record_path(results)]


def clean(folder: Path, *arguments: str) -> str:
    shutil.copy(PROJECT / "config.yaml", folder)
    command = [sys.executable, "-m", "repro", "clean", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_clean_says_and_then_removes(tmp_path: Path, left: tuple[list[Path], list[Path]]) -> None:
    gone, stays = left
    said = clean(tmp_path)
    assert "7 would go; `python -m repro clean --yes` removes them" in said
    assert all(path.exists() for path in (*gone, *stays))
    assert "the run has finished" in clean(tmp_path, "--yes")
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stays)
    assert clean(tmp_path, "--yes") == "nothing is left over\n"


def test_the_next_command_of_the_run_tidies_its_folder(
    tmp_path: Path, plan: Plan, left: tuple[list[Path], list[Path]]
) -> None:
    gone, _ = left
    train_run(plan.run("main_cifar10", 0), Settings(results=tmp_path / "results"))
    assert not any(path.exists() for path in gone[:3])


def test_the_next_writer_of_a_file_removes_the_half_of_a_dead_one(tmp_path: Path) -> None:
    half, other = (tmp_path / f".page.html.{MACHINE}-{process}.x.part" for process in (DEAD, os.getppid()))
    for path in (half, other):
        path.write_text("<ht")
    atomic_write(tmp_path / "page.html", "<html>")
    assert not half.exists()
    assert other.exists(), "its writer lives"
    assert list(abandoned(tmp_path)) == []


def test_a_workflow_begins_where_a_killed_one_left_its_locks(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    LOCKS.mkdir(parents=True)
    lock = LOCKS / "0.output.lock"
    lock.write_text("x")
    begin_workflow(plan, WORKFLOW)
    assert lock.exists(), "of a snakemake of which nothing is known"
    lock.write_text("x")
    (FOLDER / f"repro-{MACHINE}-{DEAD}.live").write_text("snakemake --cores 4")
    begin_workflow(plan, JOB)
    assert lock.exists(), "a job of another workflow's"
    script = "import sys; from repro.config import *; from tests.test_leftovers import *; " \
             "begin_workflow(Plan(load_config(sys.argv[1]), 'smoke'), WORKFLOW)"  # fmt: skip
    command = [sys.executable, "-c", script, str(PROJECT / "config.yaml")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert f"another snakemake works in this folder (process {os.getpid()}: snakemake" in said, "this very process"
    assert lock.exists()


def test_a_lock_of_another_machine_is_left_alone(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    LOCKS.mkdir(parents=True)
    (LOCKS / "0.output.lock").write_text("x")
    (FOLDER / f"repro-0000beef-{DEAD}.live").write_text("snakemake")
    begin_workflow(plan, WORKFLOW)
    assert (LOCKS / "0.output.lock").exists()
    assert "snakemake --unlock" in capsys.readouterr().err


HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print(1, flush=True)
time.sleep({})
"""


@pytest.fixture
def busy(plan: Plan, tmp_path: Path) -> Busy:
    """Another process that has the run for some seconds."""

    def hold(seconds: float) -> tuple[Run, subprocess.Popen[bytes]]:
        run = plan.run("main_cifar10", 0)
        path = run.directory(tmp_path) / LOCK_NAME
        path.parent.mkdir(parents=True)
        process = subprocess.Popen([sys.executable, "-c", HOLD.format(seconds), str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return run, process

    return hold


def test_a_second_trainer_names_the_first(busy: Busy, tmp_path: Path) -> None:
    run, process = busy(30)
    with pytest.raises(RunBusyError, match=f"process {process.pid} trains this run"):
        train_run(run, Settings(results=tmp_path))
    process.kill()
    process.wait()


def test_a_job_of_a_workflow_waits_and_can_be_stopped(
    busy: Busy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, process = busy(5)
    with pytest.raises(Interrupted):
        train_run(run, Settings(results=tmp_path, wait=True, stop=lambda: True))
    with caplog.at_level("INFO"):
        train_run(run, Settings(results=tmp_path, wait=True))
    assert f"process {process.pid} trains this run" in caplog.text
    assert read_record(run.record_path(tmp_path)).status
    process.wait()


def test_who_holds_a_lock_is_known(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path):
        assert holder(path) in (os.getpid(), None)
    assert holder(path) is None


def test_a_record_that_a_killed_workflow_took_away_is_put_back(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = plan.run("main_cifar10", 0)
    train_run(run, Settings(results=Path("results")))
    content = run.record_path().read_bytes()
    run.record_path().unlink()
    begin_workflow(plan, WORKFLOW)
    assert run.record_path().read_bytes() == content
