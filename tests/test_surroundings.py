"""Machines that are short of something: each command ends in one line, and goes on when there is enough again."""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repro.config import Plan, load_config
from repro.records import CHECKPOINT_NAME, find_records, read_record
from repro.train.kept import DIGESTS

PROJECT = Path(__file__).parent.parent
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
    done = repro(tmp_path, "claims", before=before, environment=environment)
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
