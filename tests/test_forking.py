"""Runs that are forked from one process with torch loaded: the same bits, signals and errors, and no process left."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from repro.forking import WORKFLOW
from repro.records import CHECKPOINT_NAME, find_records
from tests.conftest import comes_true

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="forks need Linux")

Start = Callable[..., subprocess.Popen[str]]
TRAIN = ("train", "main_cifar10", "--scale", "smoke", "--no-track")
CLOCKS = ["wall_seconds", "images_per_second"]


class Workflow:
    """A process that stands for snakemake, and the commands of its jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(["sleep", "600"])
        self.socket = folder / ".snakemake" / f"repro-{self.process.pid}.socket"

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A job; its errors also name every module that its own process imports."""
        inherited = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
        return subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "repro", *arguments],
            cwd=self.folder,
            env={**inherited, WORKFLOW: str(self.process.pid), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """A job from its start to its end: status, output, errors."""
        job = self.start(*arguments, **environment)
        output, errors = job.communicate(timeout=120)
        return job.returncode, output, errors

    def processes(self) -> list[int]:
        """The server and its forks."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if f".snakemake/{self.socket.name}" in path.read_text():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def workflow_in(folder: Path, project: Path) -> Iterator[Workflow]:
    shutil.copy(project / "config.yaml", folder)
    (folder / ".snakemake").mkdir()
    workflow = Workflow(folder)
    yield workflow
    workflow.kill()
    assert comes_true(lambda: not workflow.processes()), "a process outlived its workflow"


@pytest.fixture(scope="module")
def workflow(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workflow]:
    """One for all tests that leave its server as it is."""
    yield from workflow_in(tmp_path_factory.mktemp("workflow"), project)


@pytest.fixture
def doomed(project: Path, tmp_path: Path) -> Iterator[Workflow]:
    """One for a test that kills it, or its server."""
    yield from workflow_in(tmp_path, project)


def trained_by_itself(errors: str) -> bool:
    """Whether the job's own process imported torch."""
    return re.search(r"^import time:.*\| +torch$", errors, re.MULTILINE) is not None


def epochs(results: Path) -> pd.DataFrame:
    (record,) = find_records(results)
    return pd.read_csv(record.parent / "epochs.csv").drop(columns=CLOCKS)


def test_a_fork_trains_to_the_same_bits_and_says_the_same(workflow: Workflow) -> None:
    alone = workflow.run(*TRAIN, "--results", "alone", **{WORKFLOW: ""})
    forked = workflow.run(*TRAIN, "--results", "forked")
    assert trained_by_itself(alone[2])
    assert not trained_by_itself(forked[2])
    pd.testing.assert_frame_equal(epochs(workflow.folder / "forked"), epochs(workflow.folder / "alone"))
    assert (forked[0], forked[1]) == (0, alone[1].replace("alone/", "forked/"))
    assert "main_cifar10 smoke seed0: epoch 3/3: train" in forked[2]


def test_one_server_serves_runs_that_start_at_once(workflow: Workflow) -> None:
    jobs = [workflow.start(*TRAIN, "--seed", str(seed)) for seed in (1, 2, 3)]
    assert [(job.communicate(timeout=120), job.returncode)[1] for job in jobs] == [0, 0, 0]
    assert len(workflow.processes()) == 1
    assert len(find_records(workflow.folder / "results")) == 3


def test_a_failing_run_fails_alone(workflow: Workflow) -> None:
    status, _, errors = workflow.run("train", "no_such_run", "--scale", "smoke")
    assert status == 1
    assert "error: unknown experiment 'no_such_run'" in errors
    assert not trained_by_itself(errors)
    assert workflow.run("train", "--no-such-option")[0] == 2
    assert workflow.run(*TRAIN, "--seed", "4")[0] == 0


def under_way(workflow: Workflow, seed: int) -> subprocess.Popen[str]:
    """A fork that has begun to train, for longer than any test lasts."""
    job = workflow.start("train", "main_cifar10", "--scale", "quick", "--no-track", "--seed", str(seed))
    assert job.stderr is not None
    assert any(f"quick seed{seed}: 12 epochs" in line for line in job.stderr), "it ended before it began"
    assert len(workflow.processes()) == 2
    return job


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_reaches_the_fork_which_can_go_on_later(workflow: Workflow, name: str) -> None:
    number = signal.Signals[name]
    job = under_way(workflow, seed=number)
    job.send_signal(number)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 128 + number
    assert f"stopped by {name}; the checkpoint holds every step" in errors
    assert len(list(workflow.folder.glob(f"results/quick/main_cifar10/seed{number}-*/{CHECKPOINT_NAME}"))) == 1
    assert comes_true(lambda: len(workflow.processes()) == 1)


def test_a_fork_dies_with_the_process_that_asked_for_it(workflow: Workflow) -> None:
    job = under_way(workflow, seed=0)
    job.kill()
    job.communicate(timeout=60)
    assert comes_true(lambda: len(workflow.processes()) == 1)


def test_a_killed_fork_is_tried_once_more(workflow: Workflow) -> None:
    job = under_way(workflow, seed=0)
    os.kill(max(workflow.processes()), signal.SIGKILL)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 0
    assert "the process that trained was killed, perhaps for want of memory; once more" in errors
    assert trained_by_itself(errors)


def test_where_no_fork_can_be_had_the_process_trains_by_itself(workflow: Workflow, tmp_path: Path) -> None:
    for place in ({"ANOTHER": "environment"}, {WORKFLOW: "4194304"}):  # the second is no process
        status, _, errors = workflow.run(*TRAIN, "--results", str(tmp_path / next(iter(place))), **place)
        assert status == 0
        assert trained_by_itself(errors)


def test_a_run_goes_on_after_its_workflow_was_killed_and_the_server_does_not(doomed: Workflow) -> None:
    """As without forks: the run's lock says so to whoever starts the workflow again."""
    job = under_way(doomed, seed=0)
    doomed.kill()
    assert comes_true(lambda: len(doomed.processes()) == 1)
    assert not doomed.socket.exists()
    assert job.poll() is None
    job.terminate()
    job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM


def test_a_server_that_is_gone_is_started_again(doomed: Workflow) -> None:
    assert doomed.run(*TRAIN)[0] == 0
    os.kill(doomed.processes()[0], signal.SIGKILL)
    assert doomed.run(*TRAIN, "--seed", "1")[0] == 0  # by itself, where it met the server before it was quite gone
    status, _, errors = doomed.run(*TRAIN, "--seed", "2")
    assert status == 0
    assert not trained_by_itself(errors)
    assert len(doomed.processes()) == 1
