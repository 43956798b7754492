"""What `snakemake` says where it is typed wrongly: what, where, what to do; no lines of code, and nothing is made."""

from pathlib import Path

import pytest

from repro.config.schema import MOST_SEED
from tests.conftest import PROJECT

from .conftest import copy_project, snakemake

SEEDS = "expected a list of at least one: an integer >= 0 and <= 4294967295, such as --config 'seeds=[0,1,2]'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(PROJECT, tmp_path_factory.mktemp("wrong") / "clone")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("scal=smoke", "--config scal: unknown key 'scal'; did you mean 'scale'? (allowed: scale, seeds)"),
        ("scale=smok", "--config scale: unknown scale 'smok'; did you mean 'smoke'?"),
        ("scale=", "--config scale: unknown scale None"),
        ("seeds=abc", f"--config seeds: ['abc'] is not allowed; {SEEDS}"),
        ("seeds=0,1", f"--config seeds: ['0,1'] is not allowed; {SEEDS}"),
        ("seeds=-1", f"--config seeds: [-1] is not allowed; {SEEDS}"),
        ("seeds=1.5", f"--config seeds: [1.5] is not allowed; {SEEDS}"),
        ("seeds=[]", f"--config seeds: [] is not allowed; {SEEDS}"),
        (f"seeds={MOST_SEED + 1}", f"--config seeds: [{MOST_SEED + 1}] is not allowed; {SEEDS}"),
        ("seeds=[0,0]", "--config seeds: [0, 0] names a seed twice, such as"),
    ],
)
def test_a_wrong_setting(folder: Path, config: str, expected: str) -> None:
    result = snakemake(folder, "-n", config=[config])
    assert result.returncode != 0
    told = result.stdout.partition("error: ")[2]
    assert told.startswith("config.yaml: 1 problem\n  ")
    assert expected in told
    assert len(told.splitlines()) == 2


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("main_cifar1", "no target 'main_cifar1'; did you mean 'main_cifar10'? (there are: all, report, track, main,"),
        ("published", "published takes no part at scale smoke, only at: paper_bf16, paper (--config scale=NAME)"),
        ("fp32_sgd_cifar10", "fp32_sgd_cifar10 takes no part at scale smoke, only at: short, paper_bf16, paper"),
    ],
)
@pytest.mark.parametrize("options", [(), ("-n",)], ids=["", "dry run"])
def test_a_wrong_target(folder: Path, target: str, expected: str, options: tuple[str, ...]) -> None:
    result = snakemake(folder, *options, target)
    assert result.returncode != 0
    assert result.stdout.splitlines()[-1].startswith(f"error: {expected}")
    assert "MissingRuleException" not in result.stdout


@pytest.mark.parametrize("cores", ["0", "-1"])
def test_no_core(folder: Path, cores: str) -> None:
    """Snakemake itself would wait for one for ever."""
    result = snakemake(folder, "--cores", cores)
    assert result.returncode != 0
    assert f"error: --cores {cores}: it takes at least 1; all of this machine's: --cores all" in result.stdout
    assert not (folder / "results").exists()
