"""What holds the project's own files together."""

import json
import re
import tomllib
from pathlib import Path

import yaml


def constraints(project: Path) -> dict[str, str]:
    lines = (project / "constraints.txt").read_text().splitlines()
    return {name.lower(): version for name, version in (line.split("==") for line in lines if not line.startswith("#"))}


def test_conda_environment_names_the_versions_of_the_constraints(project: Path) -> None:
    pinned = constraints(project)
    environment = yaml.safe_load((project / "profiles" / "environment.yaml").read_text())
    requirements = dict(line.split("==") for line in environment["dependencies"][-1]["pip"])
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    assert list(requirements) == [re.match(r"[\w-]+", line)[0] for line in declared]
    assert {name.lower(): version for name, version in requirements.items()}.items() <= pinned.items()


def test_every_direct_dependency_is_constrained(project: Path) -> None:
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    declared = [*settings["dependencies"], *settings["optional-dependencies"]["test"]]
    names = {re.match(r"[\w-]+", line)[0].lower() for line in declared}
    assert names <= constraints(project).keys()


def test_constraints_hold_no_address(project: Path) -> None:
    text = (project / "constraints.txt").read_text()
    assert "://" not in text
    assert "@" not in text


def test_readme_has_both_lines_and_ci_runs_the_second(project: Path) -> None:
    readme = (project / "README.md").read_text()
    lines = re.findall(r"```bash\n(.*?)\n```", readme, re.DOTALL)
    assert len(lines) == 2
    assert lines[0].endswith("snakemake --cores 4")
    assert lines[1].endswith("pytest")
    assert re.search(r"<!-- test line -->\n```bash\n" + re.escape(lines[1]), readme)
    assert "<!-- test line -->" in (project / ".ci" / "run").read_text()


def test_committed_records_hold_no_path(project: Path) -> None:
    for path in project.glob("results/*/*/*/record.json"):
        text = json.dumps(json.loads(path.read_text()))
        assert not re.search(r'"/(home|root|work|tmp|Users)/', text), path


def test_container_holds_what_the_workflow_needs(project: Path) -> None:
    """It is not built here: what it copies exists, and nothing that the package or the workflow reads is left out."""
    recipe = (project / "profiles" / "Containerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", recipe, re.MULTILINE) for name in line.split()}
    assert [name for name in copied if not (project / name).exists()] == []
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    packages = {pattern.rstrip("*") for pattern in settings["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages | {"Snakefile", "config.yaml", "constraints.txt", "pyproject.toml", "profiles", "results"} <= copied
