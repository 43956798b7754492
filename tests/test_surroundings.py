"""Machines that are short of something: each command ends in one line, and goes on when there is enough again."""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from repro.config import Plan, load_config
from repro.records import CHECKPOINT_NAME, find_records, read_record
from repro.train import Interrupted, Settings, train_run
from repro.train.kept import DIGESTS

PROJECT = Path(__file__).parent.parent
FUTURE = 4_070_908_800.0  # 1 January 2099
TRAIN = ("train", "main_cifar10", "--scale", "smoke", "--no-track")


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the weights that the run gives where nothing is amiss."""
    folder = tmp_path_factory.mktemp("whole")
    assert repro(folder, *TRAIN).returncode == 0
    return weights_of(folder)


def weights_of(folder: Path) -> str:
    (path,) = find_records(folder / "results")
    return str(read_record(path).summary[next(iter(DIGESTS.values()))])


def repro(
    folder: Path, *arguments: str, before: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command as typed, after some words of the shell, with nobody at a terminal."""
    if not (folder / "config.yaml").exists():
        shutil.copy(PROJECT / "config.yaml", folder)
    line = f'{before} exec "$0" -m repro "$@"'
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-c", line, sys.executable, *arguments],
        cwd=folder,
        env=kept | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
    )


def is_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Whether a command failed with one line that says why."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip("mounting needs root and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("size", ["16k", "100k", "300k", "400k"])
def test_a_full_disk(tmp_path: Path, digest: str, size: str) -> None:
    """At the figures, a checkpoint, the second one, or the weights; with room, it goes on to the same."""
    with mounted(tmp_path / "results", f"size={size}") as results:
        is_one_line(repro(tmp_path, *TRAIN), "cannot write", "No space left", "run the same command again")
        assert not list(results.rglob("*.part"))
        subprocess.run(["mount", "-o", "remount,size=50m", results], check=True)
        done = repro(tmp_path, *TRAIN)
        assert done.returncode == 0, done.stderr
        assert weights_of(tmp_path) == digest
        assert not list(results.rglob(CHECKPOINT_NAME))


def test_a_folder_that_cannot_be_written(tmp_path: Path, digest: str) -> None:
    with mounted(tmp_path / "results", "size=50m") as results:
        subprocess.run(["mount", "-o", "remount,ro", results], check=True)
        is_one_line(repro(tmp_path, *TRAIN), "results/smoke", "cannot be written (Read-only file system)")
        assert repro(tmp_path, "status", "--scale", "smoke").returncode == 0
        subprocess.run(["mount", "-o", "remount,rw", results], check=True)
        assert repro(tmp_path, *TRAIN).returncode == 0
        assert weights_of(tmp_path) == digest
        subprocess.run(["mount", "-o", "remount,ro", results], check=True)
        assert re.search("main_cifar10.*(finished|diverged) +3/3", repro(tmp_path, "status", "--scale", "smoke").stdout)
        with mounted(tmp_path / "report", "size=16k"):
            is_one_line(repro(tmp_path, "report"), "cannot write report", "No space left")


SURROUNDINGS = {
    "no home": ("", {}),
    "a home that is none": ("", {"HOME": "/nonexistent/home"}),
    "a strict umask": ("umask 077;", {}),
    "a lax umask": ("umask 000;", {}),
    "an ASCII terminal": ("", {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    "streams that are closed": ("exec <&-;", {}),
    "no temporary folder": ("", {"TMPDIR": "/nonexistent/tmp"}),
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_odd_surroundings_change_nothing(tmp_path: Path, digest: str, name: str) -> None:
    before, environment = SURROUNDINGS[name]
    done = repro(tmp_path, *TRAIN, before=before, environment=environment)
    assert done.returncode == 0, done.stderr
    assert weights_of(tmp_path) == digest
    done = repro(tmp_path, "status", "--scale", "smoke", before=before, environment=environment)
    assert done.returncode == 0, done.stderr
    done = repro(tmp_path, "report", before=before, environment=environment)
    assert done.returncode == 0, done.stderr
    (path,) = find_records(tmp_path / "results")
    assert path.stat().st_mode & 0o777 == 0o644  # a record is for everybody


def test_too_little_memory(tmp_path: Path, digest: str) -> None:
    """A limit that torch's start fits into, and a training does not."""
    run = Plan(load_config(PROJECT / "config.yaml"), "smoke").run("main_cifar10", 0)
    free = 4_000_000
    for kilobytes in range(1_000_000, free, 500_000):
        done = repro(tmp_path, *TRAIN, before=f"ulimit -v {kilobytes};")
        if done.returncode == 0:
            break
        if done.returncode == 1:  # else the system ended it: libraries that start threads know no other way
            assert "Traceback" not in done.stderr
            assert "memory" in done.stderr.strip().splitlines()[-1].lower()
    assert repro(tmp_path, *TRAIN).returncode == 0
    assert weights_of(tmp_path) == digest
    assert not (run.directory(tmp_path / "results") / CHECKPOINT_NAME).exists()


def test_few_files_may_be_open(tmp_path: Path, digest: str) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 40
    done = repro(tmp_path, *TRAIN, before="ulimit -n 40;")
    assert done.returncode == 0, done.stderr
    assert weights_of(tmp_path) == digest


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
TORCH = {"REPRO_KERNELS": "torch"}  # the test is of clocks: libfaketime would reach the compiler of the kernels too


def the_record_is_right(folder: Path, digest: str) -> None:
    """As `check` says it of records from elsewhere; and nothing of the future is in anybody's way."""
    assert weights_of(folder) == digest
    (path,) = find_records(folder / "results")
    timing = read_record(path).timing
    seconds = [datetime.fromisoformat(timing[name]).timestamp() for name in ("started_at", "ended_at")]
    assert seconds[1] - seconds[0] >= timing["wall_seconds"] - 1
    done = repro(folder, "check", "results")
    assert not re.search("^.*timing", done.stdout + done.stderr, re.MULTILINE), done.stdout + done.stderr
    for command in (("status", "--scale", "smoke"), ("track",), ("report",), ("clean",)):
        done = repro(folder, *command)
        assert done.returncode == 0, done.stderr
        assert "-1 " not in done.stdout
    assert not list(path.parent.glob("checkpoint*"))
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert runs
    assert all(run.info.end_time >= run.info.start_time for run in runs)


@pytest.mark.slow
def test_a_run_that_was_stopped_in_the_future(tmp_path: Path, digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk is of 2099; the clock was set right, and the same command goes on."""
    run = Plan(load_config(PROJECT / "config.yaml"), "smoke").run("main_cifar10", 0)
    results, steps = tmp_path / "results", iter(range(1, 10**9))
    monkeypatch.setattr("repro.train.run.now", lambda: "2099-01-01T00:00:00+00:00")
    with pytest.raises(Interrupted):
        train_run(run, Settings(results=results, threads=1, stop=lambda: next(steps) >= 4, checkpoint_seconds=0))
    monkeypatch.undo()
    (run.directory(results) / ".record.json.0-1.part").touch()
    for path in results.rglob("*"):
        os.utime(path, (FUTURE, FUTURE))
    done = repro(tmp_path, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "resumed after" in done.stderr
    the_record_is_right(tmp_path, digest)


@pytest.mark.slow
@pytest.mark.skipif(FAKETIME is None, reason="sets the clock of a process back by libfaketime (Debian: libfaketime)")
def test_a_clock_that_is_set_back_while_it_trains(tmp_path: Path) -> None:
    """Two days back after the first epoch; what is measured goes by a clock that nobody sets."""
    (tmp_path / "undisturbed").mkdir()
    assert repro(tmp_path / "undisturbed", *TRAIN, environment=TORCH).returncode == 0
    offset, log = tmp_path / "offset", tmp_path / "log.txt"
    offset.write_text("+0")
    faked = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1", **TORCH}
    watch = f"(until grep -qs 'epoch 1/3' {log}; do sleep 0.01; done; echo -2d > {offset}) & exec 2> {log};"
    done = repro(tmp_path, *TRAIN, before=watch, environment={**faked, "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    assert done.returncode == 0, log.read_text()
    (path,) = find_records(tmp_path / "results")
    started = datetime.fromisoformat(read_record(path).timing["started_at"])
    assert path.stat().st_mtime >= started.timestamp() - 1, "the files' times are the kernel's"
    assert "-" not in re.sub(r"\de-\d\d", "", log.read_text()), "no time left below zero"
    the_record_is_right(tmp_path, weights_of(tmp_path / "undisturbed"))
