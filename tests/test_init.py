"""The suite outside of a clone: project folders, and the commands that need none."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
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


def tracked_files(project: Path) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=project, capture_output=True, text=True, check=True).stdout
    return listed.rstrip("\0").split("\0")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Path:
    """A folder with the sdist, the wheel made of it, and in ``tree`` the wheel made of the files themselves."""
    folder = tmp_path_factory.mktemp("built")
    for name in tracked_files(project):
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / name, target, follow_symlinks=False)
    subprocess.run([sys.executable, "-m", "venv", folder / "tools"], check=True)
    python = folder / "tools" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "build"], check=True)
    for options in (["--outdir", folder], ["--wheel", "--outdir", folder / "tree"]):
        subprocess.run([python, "-m", "build", *options, folder / "source"], check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_the_sdist_holds_the_repository(built: Path, project: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(tracked_files(project)) - names == set()


@pytest.mark.slow
def test_the_wheel_of_the_sdist_is_that_of_the_tree(built: Path) -> None:
    contents = []
    for folder in (built, built / "tree"):
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    assert contents[0] == contents[1]
    assert {f"repro/project/{path}" for path in project_files()} <= contents[0].keys()


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment_runs_the_suite_in_an_empty_folder(built: Path, tmp_path: Path) -> None:
    """With the dependencies that it declares, 6 GB, as a user has them: nothing else says which."""
    (wheel,) = built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    programs = tmp_path / "venv" / "bin"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "MLFLOW"))}
    environment |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "REPRO_DATA_DIR": str(tmp_path / "no-data")}

    def typed(line: str, folder: Path) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=environment, timeout=1800,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    try:
        typed(f"pip install -q {wheel}", tmp_path)
        where = typed("python -c 'import repro; print(repro.__file__)'", tmp_path)
        assert Path(where.strip()).is_relative_to(tmp_path / "venv")
        said = typed("repro init project", tmp_path)
        folder = tmp_path / "project"
        assert "next: cd project && snakemake --cores 2 --config scale=smoke" in said
        assert "open report/index.html" in typed("snakemake --cores 2 --config scale=smoke", folder)
        assert (folder / "report" / "index.html").exists()
        assert "MLflow: " in typed("python -m repro track", folder)
        assert "nothing is left over" in typed("python -m repro clean", folder)
    finally:
        shutil.rmtree(tmp_path / "venv")  # pytest keeps the folders of three runs
