"""What holds the project's own files together."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from repro.analysis import load_evidence
from repro.claims.findings import count, judge_all
from repro.config import Config
from repro.records import read_csv_rows, read_record


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


def test_readme_says_what_records_and_ledger_say(project: Path, tmp_path: Path, config: Config) -> None:
    """By the committed records alone: whoever adds some of their own breaks nothing."""
    listed = subprocess.run(["git", "ls-files", "results"], cwd=project, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which records are committed is not known")
    for name in listed.stdout.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / name, tmp_path / name)
    readme = (project / "README.md").read_text()
    counts = count(judge_all(load_evidence(config, tmp_path / "results")))
    claims, facts = counts.claims, counts.facts
    log, text = "contradicted by the authors' log", "contradicted by the paper's own text"
    assert f"Of {counts.total} checkable claims of the paper, about {counts.total_facts} facts" in readme
    assert f"**{claims[log]} ({facts[log]} facts) are contradicted by the author's own published log" in readme
    assert f"{claims['contradicted by arithmetic']} by arithmetic on printed numbers" in readme
    assert f"and {claims[text]} ({facts[text]} facts) by other words of the paper**" in readme
    assert f"{counts.by_arithmetic} hold by arithmetic on printed numbers" in readme
    assert f"{counts.by_training or 'none'} by training yet, {claims['not testable here']} cannot be tested" in readme
    assert f"and {claims['not measured yet']} wait for runs" in readme
    for pattern, keys in (
        ("paper/mobile_cifar10/seed0-*", ("final_test_accuracy", "final_train_accuracy")),
        ("short/main_cifar10/seed0-*", ("best_test_accuracy", "final_test_accuracy")),
        ("short/fp32_cifar10/seed0-*", ("best_test_accuracy", "final_test_accuracy")),
    ):
        (path,) = project.glob(f"results/{pattern}/record.json")
        summary = read_record(path).summary
        for key in keys:
            assert f"{100 * summary[key]:.2f} %" in readme
        if "mobile" in pattern:
            rows = read_csv_rows(path.parent / "epochs.csv")
            for row in rows:
                assert f"{100 * float(row['test_accuracy']):.2f}" in readme
