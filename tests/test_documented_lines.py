"""Every command line of README and docs is in one of the lists below; those that can run in seconds run as typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from repro.cli import _parser
from tests.conftest import PROJECT

LINE = re.compile(r"(?:\$ )?((?:snakemake|python -m repro|repro|python -m benchmarks|mlflow)\b(?! ?[./]|-<).*)")

RUN = (
    "python -m repro claims",
    "python -m repro compare main_cifar10 fp32_cifar10 --scale short",
    "python -m repro status",
    "snakemake -n",
)
# Run by a test of their own, at scale smoke or in a folder of its own
ELSEWHERE = {
    "python -m repro export main_cifar10 --scale short --seed 0 --onnx": "tests/export/test_export_commands.py",
    "python -m repro check FOLDER": "tests/check/test_check.py",
    "python -m repro check results/short": "tests/check/test_check.py",
    "python -m repro clean": "tests/test_leftovers.py",
    "python -m repro crate --scale short DIR": "tests/crate/test_crate.py",
    "python -m repro init DIR": "tests/test_init.py",
    "python -m repro refresh": "tests/report/test_refresh.py",
    "python -m repro report": "tests/test_cli.py",
    "python -m repro sharpness NAME --scale short --seed 0": "tests/export/test_sharpness.py",
    "python -m repro track": "tests/test_cli.py",
    "python -m repro weights NAME": "tests/workflow/test_workflow_ptq.py",
    "python -m repro plan --scale short --budget 3h": "tests/test_costs.py",
    "snakemake": "tests/workflow/conftest.py",
    "snakemake --cores 4": "tests/workflow/conftest.py",
    "snakemake --cores 4 ablation --config scale=short": "tests/workflow/test_workflow.py",
    "snakemake --cores 4 mobile_cifar10": "tests/workflow/test_workflow.py",
    "snakemake --workflow-profile profiles/slurm": "tests/workflow/test_cluster.py",
    "snakemake --workflow-profile profiles/slurm --config scale=paper_bf16": "tests/workflow/test_cluster.py",
}
# Only parsed here, with the reason
NOT_RUN = {
    "mlflow ui --backend-store-uri sqlite:///mlflow.db": "a server that does not end",
    "python -m repro data cifar10 --download": "needs the network",
    "python -m repro evaluate results/short/main_cifar10/seed0-b390c18e/model.safetensors": "needs trained weights",
    "python -m repro train all --scale paper --seed 0 1 2 --at-once 8": "needs a GPU, and days",
    "python -m repro train main_cifar10 --scale paper --seed 0": "needs real CIFAR, and days",
    "python -m repro train mobile_cifar10 --scale paper --seed 0 --threads 4 --no-track": "needs real CIFAR, and hours",
    "python -m repro weights main_cifar10 --scale short": "needs real CIFAR, and an hour",
    "snakemake --unlock": "needs a lock that another machine left",
}


def documented() -> set[str]:
    found = set()
    for path in (PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")):
        text = path.read_text()
        fenced = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
        inline = re.findall(r"`([^`\n]+)`", re.sub(r"```\w*\n.*?```", "", text, flags=re.DOTALL))
        lines = [line.strip() for block in fenced for line in block.splitlines()] + inline
        found |= {match[1] for line in lines if (match := LINE.fullmatch(line))}
    return found


def test_every_line_is_in_one_list() -> None:
    listed = [*RUN, *ELSEWHERE, *NOT_RUN]
    assert len(set(listed)) == len(listed)
    assert documented() == set(listed)


@pytest.mark.parametrize("line", sorted(line for line in documented() if line.startswith("python -m repro ")))
def test_every_line_is_a_call_of_the_command_line(line: str) -> None:
    _parser().parse_args(shlex.split(line)[3:])


@pytest.mark.parametrize("line", RUN)
def test_a_line_runs_as_typed(line: str) -> None:
    program, *arguments = shlex.split(line)
    where = {"python": sys.executable, "snakemake": str(Path(sys.executable).parent / "snakemake")}
    result = subprocess.run([where[program], *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", sorted(set(ELSEWHERE.values())))
def test_the_other_tests_are_there(path: str) -> None:
    assert (PROJECT / path).exists()
