"""A copy of the project in which the whole smoke scale has really been run, once for all workflow tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

Snakemake = Callable[..., subprocess.CompletedProcess[str]]
COPIED = ("Snakefile", "config.yaml", "profiles")


def copy_project(source: Path, target: Path, *also: str) -> Path:
    """The workflow's own files, as a clone has them; the package itself is installed."""
    target.mkdir(parents=True)
    for name in (*COPIED, *also):
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, symlinks=True)
        else:
            shutil.copy(source / name, target / name)
    return target


def snakemake(
    folder: Path, *arguments: str, scale: str = "smoke", config: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run snakemake in a folder that has no data; output is text, both streams in ``stdout``."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "REPRO"))}
    return subprocess.run(
        [Path(sys.executable).parent / "snakemake", "--cores", "2", *arguments, "--config", f"scale={scale}", *config],
        cwd=folder,
        env={**environment, "REPRO_DATA_DIR": str(folder / "no-data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="session")
def smoke_project(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `snakemake` ran the smoke scale from nothing to the report."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # common to all workers, so that the run is made once
    folder = base / "smoke"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            result = snakemake(copy_project(project, folder))
            assert result.returncode == 0, result.stdout[-6000:]
            (folder / "terminal.txt").write_text(result.stdout)
    return folder


@pytest.fixture
def cached(smoke_project: Path, tmp_path: Path) -> Path:
    """A fresh copy with the records of the smoke scale and nothing else that a run left behind."""
    folder = copy_project(smoke_project, tmp_path / "clone", "results")
    for leftover in folder.glob("results/**/.*"):
        leftover.unlink()
    for weights in folder.glob("results/**/*.pt"):
        weights.unlink()
    return folder
