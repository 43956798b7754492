"""Every command line of README, CONTRIBUTING and docs/ runs as typed: its text, taken out of the document, in a shell.

They run in a project folder whose scales are all as small as `smoke` and which has a few of the experiments: a line
that trains for days elsewhere trains here for seconds, on digits that stand in. What is not run has its reason.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from repro.config import Plan, load_config
from tests.conftest import PROJECT, comes_true

from .test_init import tracked_files
from .workflow.conftest import copy_project

DOCUMENTS = (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md")))
SHELL = ("bash", "sh")  # blocks whose every line is one; of other blocks, those behind a prompt
PROGRAMS = r"(?:snakemake|python3?|mlflow|pytest|pip|ruff|pkg|apt|git|mkdir|\. \.venv/bin/activate|\.ci/run)(?: .*)?"
MENTIONED = {"snakemake", "python -m repro train", "pip install"}  # a program's name in a sentence
EXPERIMENTS = ("main_cifar10", "main_cifar100", "fp32_cifar10", "ablation_full", "ablation_no_weight_clip",
               "mobile_cifar10", "ptq4_cifar10")  # fmt: skip

# What a reader may type, in that order, and what it then says
FAST = {
    "snakemake -n": "This was a dry-run",
    "python -m repro init DIR": "next: cd new && snakemake",
    "python -m repro NAME --help": "Train experiments, or go on where they stopped",
    "snakemake --cores 4 mobile_cifar10": "] mobile_cifar10 seed 0 ",
    "python -m repro status": "scale quick: 1 finished, 6 not started",
    "python -m repro clean": "nothing is left over",
    "python -m repro claims": "[contradicted by the authors' log]",
    "python -m repro compare main_cifar10 fp32_cifar10 --scale short": "quantizer.name",
    "python -m repro plan --scale short --budget 3h": "scale short: 2 cached, 5 to train",
    "python -m repro check FOLDER": "accepted: results/short/main_cifar10/",
    "python -m repro check results/short": "accepted: results/short/main_cifar10/",
    "python -m repro weights main_cifar10 --scale short": "results/short/main_cifar10/",
    "python -m repro export main_cifar10 --scale short --seed 0 --onnx": "logits bit for bit those of the trained",
    "python -m repro evaluate results/short/main_cifar10/seed0-b390c18e/model.safetensors": "record: the same",
    "python -m repro train main_cifar10 --scale paper --seed 0": "results/paper/main_cifar10/seed0-",
    "snakemake --unlock": "",
}
SLOW = {
    "python -m repro weights NAME": "results/quick/main_cifar10/",
    "python -m repro sharpness NAME --scale short --seed 0": "sharpness.json: training loss",
    "python -m repro train mobile_cifar10 --scale paper --seed 0 --threads 4 --no-track": "results/paper/mobile_",
    "snakemake --cores 4": "open report/index.html",
    "snakemake --cores 2": "done in",
    "snakemake --cores 4 ablation --config scale=short": "] ablation_no_weight_clip seed 0 ",
    "snakemake --cores 2 main_cifar10 fp32_cifar10 --config scale=paper_bf16 'seeds=[0]'": "] fp32_cifar10 seed 0 ",
    "python -m repro report": "report/index.html",
    "python -m repro track": "MLflow: ",
    "python -m repro refresh": "docs/FINDINGS.md",
    "python -m repro train all --scale paper --seed 0 1 2 --at-once 8": "results/paper/main_cifar100/seed2-",
}
# In a copy of the clone
IN_A_CLONE = {
    "python -m repro.records.schemas": "",
    "python -m repro crate --scale short DIR": "described in ro-crate-metadata.json",
}
NOT_RUN = {
    "mlflow ui --backend-store-uri sqlite:///mlflow.db": "a server that does not end; below",
    "python -m repro data cifar10 --download": "needs the network; below, without it",
    "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e . && .venv/bin/snakemake --cores 4":
        "installs 6 GB; below, by `pytest -m slow`",
    "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[test]' && .venv/bin/python -m pytest":
        "what runs this test; .ci/run takes it out of the README",
    ".ci/run": "the same",
    ". .venv/bin/activate": "the tests' own environment",
    "python -m pytest -m slow": "half an hour: this test is a part of it",
    "python -m pytest tests/quant -n 0 -x -q": "a part of every run of the tests",
    "python -m pytest tests/config tests/quant tests/models": "the same",
    "python -m pytest tests/claims": "the same",
    "pytest tests/config tests/quant tests/models": "the same",
    "pytest tests/hostile": "the same",
    "pytest tests/test_surroundings.py": "the same",
    "pytest tests/workflow/test_chaos.py": "the same",
    "pytest -m slow tests/workflow/test_cluster.py": "the same",
    "pytest tests/check/test_sites.py": "the same",
    "pytest tests/tracking": "the same",
    "python -m benchmarks.chaos": "tests/workflow/test_chaos.py runs it with fewer",
    "python -m benchmarks.flips": "tests/hostile runs it in every run of the tests",
    "ruff check . && ruff format --check . && mypy": "steps of .ci/run",
    "pip install -e '.[crate]'": "a part of the extra `test`",
    "python -m benchmarks.chaos --kills 100": "an hour; tests/workflow/test_chaos.py runs it with fewer",
    "python -m benchmarks.flips --flips 1000": "tests/hostile runs it in every run of the tests",
    "python -m benchmarks.gpu": "needs a GPU",
    "snakemake --workflow-profile profiles/slurm": "needs Slurm; tests/workflow/test_cluster.py starts one",
    "snakemake --workflow-profile profiles/slurm --config scale=paper_bf16": "the same",
    "python -m pytest -m slow tests/workflow/test_cluster.py": "the same",
    "pip install -e '.[slurm]'": "installs what tests/workflow/test_cluster.py asks for",
    "pip install snakemake-executor-plugin-kubernetes": "needs a cluster",
    "snakemake --cores 4 suite_mobile_cifar10 --config scale=smoke": "tests/workflow/test_workflow.py, as a module",
    "pkg install proot-distro && proot-distro install debian && proot-distro login debian": "needs a phone",
    "pkg install openssh": "needs a phone",
    "apt update && apt install -y git python3-venv": "changes the machine",
    "git clone ADDRESS-OF-THIS-REPOSITORY suite && cd suite": "a reader's own address",
    "python3 -m venv .venv && . .venv/bin/activate": "the tests' own environment",
    "pip install 'torch<2.11' 'numpy<3' PyYAML filelock": "of a phone's processor",
    "mkdir -p data/cache": "no line of ours",
}  # fmt: skip


def documented() -> set[str]:
    """The lines, without what a comment says behind them."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
        rest = re.sub(r"^ *```\w*\n.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
        for language, block in blocks:
            prompt = "" if language in SHELL else r"\$ "
            found += re.findall(rf"^ *{prompt}(\S.*)$", block, re.MULTILINE)
        found += [line for line in re.findall(r"`([^`\n]+)`", rest) if re.fullmatch(PROGRAMS, line)]
    return {re.sub(r" {2,}# .*", "", line) for line in found} - MENTIONED


def test_every_line_is_in_one_table() -> None:
    tables = [*FAST, *SLOW, *IN_A_CLONE, *NOT_RUN]
    assert len(set(tables)) == len(tables)
    assert documented() == set(tables)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone's files and a few records, as small as they can be; weights are not there, as in a clone."""
    folder = copy_project(PROJECT, tmp_path_factory.mktemp("typed") / "clone", "README.md", "docs")
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    small = raw["scales"]["smoke"]
    for name, scale in raw["scales"].items():
        raw["scales"][name] = {**small, **{key: scale[key] for key in ("description", "decides") if key in scale}}
    raw["experiments"] = {name: raw["experiments"][name] for name in EXPERIMENTS}
    (folder / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    typed("python -m repro train main_cifar10 fp32_cifar10 mobile_cifar10 --scale short --no-track", folder)
    for weights in folder.glob("results/**/*.pt"):
        weights.unlink()
    return folder


def shell(folder: Path) -> dict[str, str]:
    """The environment of a shell in which the suite's is active."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "REPRO"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "REPRO_DATA_DIR": str(folder / "no-data")}


def typed(line: str, folder: Path, **environment: str) -> str:
    """Run a line as it stands, but for the words in capitals and the hash, which are those of the folder."""
    run = Plan(load_config(folder / "config.yaml"), "short").run("main_cifar10", 0)
    name = "train" if line.endswith("--help") else "main_cifar10"
    for word, own in {"NAME": name, "DIR": "new", "FOLDER": "results/short", "b390c18e": run.spec_hash}.items():
        line = re.sub(rf"\b{word}\b", own, line)
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=shell(folder) | environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Traceback" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("line", FAST)
def test_a_line_as_typed(folder: Path, line: str) -> None:
    if "evaluate" in line and not list(folder.glob("results/short/main_cifar10/*/model.safetensors")):
        typed("python -m repro export main_cifar10 --scale short", folder)
    assert FAST[line] in typed(line, folder)


@pytest.mark.slow
@pytest.mark.parametrize("line", SLOW)
def test_a_line_that_takes_longer_as_typed(folder: Path, line: str) -> None:
    if "sharpness" in line:
        typed("python -m repro weights main_cifar10 --scale short", folder)
    if line.startswith("snakemake"):  # else the one before has left it nothing to do
        shutil.rmtree(folder / "results" / "quick", ignore_errors=True)
    assert SLOW[line] in typed(line, folder)


@pytest.mark.parametrize("line", IN_A_CLONE)
def test_a_line_as_typed_in_a_clone(tmp_path: Path, line: str) -> None:
    if "crate" in line:
        pytest.importorskip("rocrate", reason="pip install -e '.[crate]'")
    clone = copy_project(PROJECT, tmp_path / "clone", "repro", "results")
    before = {path: path.read_bytes() for path in clone.glob("repro/records/schema_files/*")}
    assert IN_A_CLONE[line] in typed(line, clone)
    assert {path: path.read_bytes() for path in before} == before


def test_a_download_without_a_network(folder: Path) -> None:
    away = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        ["bash", "-c", "python -m repro data cifar10 --download"], cwd=folder, env=shell(folder) | away,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "cifar10" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_pages_of_mlflow(folder: Path) -> None:
    """The server that a line starts answers, and is then stopped; MLFLOW_PORT is a port that is free."""
    typed("python -m repro track", folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["bash", "-c", "mlflow ui --backend-store-uri sqlite:///mlflow.db"], cwd=folder, start_new_session=True,
        env=shell(folder) | {"MLFLOW_PORT": str(port)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                return "MLflow" in page.read().decode()
        except OSError:
            return False

    try:
        assert comes_true(answers, 120)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.mark.slow
def test_the_first_line_as_typed(folder: Path, tmp_path: Path) -> None:
    """It installs everything that it names; the configuration is the small one, so that minutes suffice."""
    (line,) = [line for line in NOT_RUN if line.endswith("/snakemake --cores 4")]
    clone = tmp_path / "clone"
    for name in tracked_files(PROJECT):
        if not name.startswith("results/"):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, clone / name, follow_symlinks=False)
    shutil.copy(folder / "config.yaml", clone)
    try:
        assert "open report/index.html" in typed(line, clone, PYTHONPATH="")
    finally:
        shutil.rmtree(clone / ".venv", ignore_errors=True)  # pytest keeps the folders of three runs


def test_every_group_that_the_readme_names_is_one(folder: Path) -> None:
    groups = Plan(load_config(PROJECT / "config.yaml"), "paper_bf16").groups
    sentence = re.search(r"one group \((.*?)\)\.", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence[1])) <= set(groups)
