"""PTQ in the DAG: it waits for weights, asks for them where they are gone, and never costs a training twice."""

import shutil
from pathlib import Path

import pytest

from repro.config import Plan, load_config
from repro.records import find_records, read_record

from .conftest import snakemake
from .test_workflow import add_block, jobs, shuffle_file_times

BLOCK = """
  ptq3_cifar10:
    group: ptq
    title: PTQ, 3-bit
    quantizer: none
    ptq: {name: mse, bit_width: 3}
"""


def weights_file(folder: Path) -> Path:
    """Where the FP32 run's weights belong."""
    plan = Plan(load_config(folder / "config.yaml"), "smoke")
    return plan.run("fp32_cifar10", 0).weights_path(folder / "results")


@pytest.fixture
def with_weights(smoke_project: Path, tmp_path: Path) -> Path:
    """The whole folder in which everything ran, Snakemake's own memory of it too."""
    return Path(shutil.copytree(smoke_project, tmp_path / "copy", symlinks=True))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in find_records(folder / "results")}


def test_fp32_was_trained_once_and_left_its_weights(smoke_project: Path) -> None:
    """The whole scale has run from nothing: its log shows one training, and the PTQ records name it."""
    record = weights_file(smoke_project).with_name("record.json")
    assert weights_file(smoke_project).exists()
    logs = smoke_project / "logs" / "smoke" / "fp32_cifar10" / f"{record.parent.name}.log"
    epochs = read_record(record).summary["epochs_run"]
    assert logs.read_text().count(f"epoch 1/{epochs}:") == 1
    for path in (smoke_project / "results" / "smoke").glob("ptq*/*/record.json"):
        quantized = read_record(path)
        assert quantized.summary["source_run"] == read_record(record).key
        assert quantized.timing["started_at"] >= read_record(record).timing["ended_at"]


@pytest.mark.parametrize("seed", range(2))
def test_a_clone_without_weights_does_nothing(cached: Path, seed: int) -> None:
    shuffle_file_times(cached, seed)
    assert not list(cached.glob("results/**/*.pt"))
    assert jobs(snakemake(cached, "-n").stdout) == {"all": 1, "report": 1, "track": 1, "total": 3}
    assert "Nothing to be done" in snakemake(cached, "-n", "ptq").stdout


def test_weights_that_are_thrown_away_are_not_missed(with_weights: Path) -> None:
    """Snakemake remembers the input of the PTQ runs: dropping it makes them again, from their copies, at most once."""
    before = contents(with_weights)
    weights_file(with_weights).unlink()
    assert set(jobs(snakemake(with_weights, "-n", "ptq").stdout)) <= {"ptq", "train", "total"}
    assert snakemake(with_weights, "ptq").returncode == 0
    assert contents(with_weights) == before
    assert not weights_file(with_weights).exists()
    assert "Nothing to be done" in snakemake(with_weights, "-n", "ptq").stdout


def test_a_new_method_takes_the_weights_that_are_there(with_weights: Path) -> None:
    add_block(with_weights, BLOCK)
    stamp = weights_file(with_weights).stat().st_mtime_ns
    assert jobs(snakemake(with_weights, "-n", "ptq").stdout) == {"ptq": 1, "train": 1, "total": 2}
    result = snakemake(with_weights, "ptq")
    assert result.returncode == 0, result.stdout[-4000:]
    assert weights_file(with_weights).stat().st_mtime_ns == stamp
    assert "Nothing to be done" in snakemake(with_weights, "-n", "ptq").stdout


@pytest.mark.parametrize("seed", range(2))
def test_a_new_method_in_a_clone_asks_for_the_weights_once(cached: Path, seed: int) -> None:
    """No record is touched: not the FP32 run's, and not those of the other methods."""
    add_block(cached, BLOCK)
    shuffle_file_times(cached, seed)
    assert jobs(snakemake(cached, "-n", "ptq").stdout) == {"ptq": 1, "train": 1, "weights": 1, "total": 3}
    if seed == 0:
        before = contents(cached)
        result = snakemake(cached, "ptq")
        assert result.returncode == 0, result.stdout[-4000:]
        after = contents(cached)
        assert before.items() <= after.items()
        assert len(after) == len(before) + 1
        assert weights_file(cached).exists()
        assert "Nothing to be done" in snakemake(cached, "-n", "ptq").stdout


def test_a_weights_job_that_finds_them_leaves_them(with_weights: Path) -> None:
    """Forced, or made again because a killed Snakemake left it incomplete: the output is not deleted beforehand."""
    before = weights_file(with_weights).read_bytes()
    result = snakemake(with_weights, "--force", str(weights_file(with_weights).relative_to(with_weights)))
    assert result.returncode == 0, result.stdout[-4000:]
    assert weights_file(with_weights).read_bytes() == before
    (log,) = (with_weights / "logs" / "smoke" / "fp32_cifar10").glob("*-weights.log")
    assert "again" not in log.read_text(), "bytes alone would not tell: the same training gives the same"
