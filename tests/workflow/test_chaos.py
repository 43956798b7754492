"""Kills at seeded moments, and the same command again: the same records, weights, MLflow runs and files."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, comes_true

from .conftest import copy_project, snakemake


def chaos(*arguments: str, seconds: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.chaos", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=seconds)


def test_a_few_kills_change_nothing(tmp_path: Path) -> None:
    done = chaos("--kills", "3", "--groups", "main", "--folder", str(tmp_path), seconds=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "3 kills: 0 differences, leftovers or steps by hand" in done.stdout


@pytest.mark.slow
def test_a_hundred_kills_change_nothing(tmp_path: Path) -> None:
    done = chaos("--kills", "100", "--folder", str(tmp_path), seconds=4 * 3600)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "100 kills: 0 differences, leftovers or steps by hand" in done.stdout


def test_a_thousand_flipped_bits_are_noticed() -> None:
    command = [sys.executable, "-m", "benchmarks.flips", "--flips", "1000"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert ": 0 taken without a word" in done.stdout


def test_a_second_snakemake_says_who_works(project: Path, tmp_path: Path) -> None:
    """The first one is stopped in the middle by SIGSTOP, so that nothing here depends on how fast it is."""
    import os
    import signal

    folder = copy_project(project, tmp_path / "clone")
    first = subprocess.Popen(
        [Path(sys.executable).parent / "snakemake", "--cores", "1", "--config", "scale=smoke"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        # Snakemake notes its inputs first, then its outputs, by which a second one knows
        outputs = (folder / ".snakemake" / "locks").glob
        assert comes_true(lambda: any(path.stat().st_size for path in outputs("*output.lock")), seconds=60)
        os.killpg(first.pid, signal.SIGSTOP)
        second = snakemake(folder, "main")
        assert second.returncode != 0
        assert f"another snakemake works in this folder (process {first.pid}: snakemake --cores 1" in second.stdout
        assert any((folder / ".snakemake" / "locks").glob("*.lock")), "the lock of a live one stays"
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert "works in this folder" not in snakemake(folder, "-n").stdout
    assert not any((folder / ".snakemake" / "locks").glob("*.lock")), "the lock of a dead one goes by itself"
