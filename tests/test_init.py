"""The suite outside of a clone: project folders, and the commands that need none."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from repro.project import project_files

from .test_cli import repro


def test_a_project_folder_holds_what_a_clone_does(tmp_path: Path, project: Path) -> None:
    result = repro("init", "new", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "next: cd new && snakemake --cores 2 --config scale=smoke" in result.stdout
    written = sorted(path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*") if path.is_file())
    assert written == project_files()
    assert {"Snakefile", "config.yaml", "profiles/default/config.yaml"} <= set(map(str, written))
    for path in written:
        assert (tmp_path / "new" / path).read_bytes() == (project / path).read_bytes()
        assert not (tmp_path / "new" / path).is_symlink()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    result = repro("init", ".", cwd=tmp_path)
    assert result.returncode == 1
    assert "error: config.yaml: already there, and nothing was written" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_the_packages_files_are_links_to_the_only_ones(project: Path) -> None:
    for path in project_files():
        inside = project / "repro" / "project" / path
        assert inside.is_symlink()
        assert inside.resolve() == (project / path).resolve()


def test_the_workflows_files_are_all_in_a_project(project: Path) -> None:
    tracked = [path for path in (project / "profiles").rglob("*") if path.is_file()]
    own = {path.relative_to(project) for path in tracked} - {Path("profiles/Containerfile")}  # it copies a clone
    assert own <= set(project_files())


def test_version_and_data_work_anywhere(tmp_path: Path) -> None:
    assert re.fullmatch(r"repro \d+\.\d+\.\d+", repro("--version", cwd=tmp_path).stdout.strip())
    result = repro("data", "digits10", cwd=tmp_path, REPRO_DATA_DIR=str(tmp_path / "data"))
    assert result.returncode == 0, result.stderr
    assert "digits10" in result.stdout


def test_without_a_project_a_command_says_how_to_make_one(tmp_path: Path) -> None:
    result = repro("list", cwd=tmp_path)
    assert result.returncode == 1
    assert "python -m repro init DIR" in result.stderr


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment_runs_the_suite_in_an_empty_folder(tmp_path: Path, project: Path) -> None:
    """Its dependencies, 6 GB, are those of the running environment, by a .pth file: the wheel alone is installed."""
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "results", "report", "data", "build", "*.egg-info")
    shutil.copytree(project, source, symlinks=True, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    isolation = ["--no-deps", "--no-build-isolation"] if shutil.which("setuptools") else ["--no-deps"]
    subprocess.run([*pip, "wheel", *isolation, "--wheel-dir", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "repro/project/Snakefile" in names
    assert {f"repro/project/{path}" for path in project_files()} <= set(names)

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, *pip[1:], "install", "--no-deps", str(wheel)], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    dependencies = Path(pytest.__file__).parent.parent
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    environment |= {"REPRO_DATA_DIR": str(tmp_path / "no-data")}
    where = subprocess.run(
        [python, "-c", "import repro; print(repro.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
    folder = tmp_path / "project"
    subprocess.run([python.with_name("repro"), "init", folder], env=environment, check=True)
    workflow = "import sys; from snakemake.cli import main; sys.exit(main())"
    result = subprocess.run(
        [python, "-c", workflow, "--cores", "2", "--config", "scale=smoke"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "open report/index.html" in result.stderr
    assert (folder / "report" / "index.html").exists()
