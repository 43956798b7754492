"""What a start costs: imports that no training needs, and a count of products without torch's counter."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from repro.config import Config, Plan
from repro.train.build import build_model
from repro.train.measure import count_flops

HEAVY = ("torch._dynamo", "sympy", "mlflow", "pandas", "torchvision", "sklearn.utils", "brevitas", "snakemake", "scipy")
SCRIPT = """
import sys
from repro.cli import main
print(main(sys.argv[1:]), *sys.modules)
"""


def test_a_training_imports_neither_torchs_compiler_nor_what_others_need(project: Path, tmp_path: Path) -> None:
    command = ["train", "main_cifar10", "--scale", "smoke", "--no-track", "--results", str(tmp_path)]
    line = [sys.executable, "-c", SCRIPT, *command]
    result = subprocess.run(line, cwd=project, capture_output=True, text=True, check=True)
    status, *modules = result.stdout.splitlines()[-1].split()
    assert status == "0"
    assert "torch" in modules
    assert not set(HEAVY) & set(modules)


def test_a_training_needs_no_more_than_the_readme_names(project: Path, tmp_path: Path) -> None:
    """Every other package that the project declares is as if it were not there, but for the one with the digits."""
    sentence = re.search(r"only that file and (.*?) can train", (project / "README.md").read_text())[1]
    needed = {"yaml" if name == "PyYAML" else name.lower() for name in re.findall(r"\w+", sentence)} - {"and"}
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.match(r"[\w-]+", line)[0].lower().replace("-", "_") for line in declared}
    modules = {{"pyyaml": "yaml", "pillow": "PIL"}.get(name, name) for name in names}
    assert needed < modules
    absent = modules - needed - {"scikit_learn", "typing_extensions"}  # the latter is torch's own
    command = ["train", "main_cifar10", "--scale", "smoke", "--no-track", "--results", str(tmp_path)]
    script = f"import sys\nsys.modules.update(dict.fromkeys({sorted(absent)}))\n{SCRIPT}"
    result = subprocess.run([sys.executable, "-c", script, *command], cwd=project, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1].startswith("0 "), result.stderr


@pytest.mark.parametrize(
    "experiment",
    ["main_cifar10", "fp32_cifar10", "lsq_w4a4_cifar10", "int4_radix4_cifar10", "published_dorefa_w4_resnet20"],
)
def test_products_are_counted_as_torch_counts_them(config: Config, experiment: str) -> None:
    model = build_model(Plan(config, "paper").run(experiment, 0).spec, 10)
    ours = count_flops(model, (3, 32, 32))
    model.eval()
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(torch.zeros(2, 3, 32, 32))
    with FlopCounterMode(display=False) as step:
        model(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert ours["forward_flops_per_image"] == forward.get_total_flops() / 2
    assert ours["step_flops_per_image"] == step.get_total_flops() / 2
