"""The report from a configuration that lacks experiments, by the command that a user types."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from page_cells import PageTables
from report_factory import CONFIG

PROJECT = CONFIG.parent
MINE = {"mine": {"group": "my_group", "title": "Mine", "gradient_clip": 0.1}}
LEAKED = re.compile(r"\b(nan|None|NaT|inf|undefined)\b")


def without(*groups):
    """All experiments but those of some groups."""
    return lambda experiments: {name: each for name, each in experiments.items() if each["group"] not in groups}


def only(*names):
    return lambda experiments: {name: each for name, each in experiments.items() if name in names}


# What is kept of the configuration, and what the page then says.
CUTS = {
    "no ablation": (without("ablation"), "Here: not run yet"),
    "no main runs": (without("main", "schedules", "mobile"), "short: 1 seed|FP32"),
    "one data set": (only("main_cifar100", "fp32_cifar100"), "In runs shortened to 9 epochs"),
    "one of one's own": (lambda experiments: MINE, "No record was found|set aside"),
}  # fmt: skip


def report(folder: Path, config: dict[str, object], results: Path) -> str:
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "repro", "report", "--config", "config.yaml", "--results", str(results)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout.strip()) == (0, "report/index.html"), done.stderr
    return (folder / "report" / "index.html").read_text()


@pytest.mark.parametrize(("cut", "says"), CUTS.values(), ids=list(CUTS))
def test_experiments_that_are_cut_from_the_configuration_leave_a_sound_page(factory, tmp_path, cut, says):
    for name in ("main_cifar10", "fp32_cifar10", "main_cifar100", "fp32_cifar100", "ablation_no_weight_clip",
                 "ptq4_cifar10", "bits2_cifar10", "mobile_cifar10"):  # fmt: skip
        factory.write(name, "short")
    raw = yaml.safe_load(CONFIG.read_text())
    page = PageTables(report(tmp_path, {**raw, "experiments": cut(raw["experiments"])}, factory.results))
    words = re.sub(r"\s+", " ", " ".join(page.words))
    assert re.search(says, words)
    assert not LEAKED.search(words), LEAKED.search(words)
    assert "150 epochs; 100 in the ablation" in words


def test_without_results_the_page_says_what_there_would_be(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    page = report(tmp_path, yaml.safe_load(CONFIG.read_text()), results)
    assert "No record was found" in page
