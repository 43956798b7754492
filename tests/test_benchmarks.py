"""The benchmarks measure what they say, on models small enough for a test."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu
from benchmarks.parts import OVERHEAD, STEP_PARTS, epoch_parts
from benchmarks.variants import ceiling, core, plain_loop, repeat
from benchmarks.workers import Worker
from repro.config import Run
from repro.data import ImageData, load_dataset
from repro.train import Trainer
from repro.train.measure import count_flops
from repro.train.probe import made_up

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_dataset("digits10", train_images=300, test_images=50)


def test_the_ceiling_is_all_of_the_models_products_and_nothing_else(
    digits: ImageData, tiny_run: Callable[..., Run]
) -> None:
    spec = tiny_run(batch_size=16).spec
    step = ceiling(digits, spec, CPU)
    with FlopCounterMode(display=False) as counted:
        step()
    trainer = Trainer(spec, 0, digits, CPU)
    expected = count_flops(trainer.model, (3, 32, 32))["step_flops_per_image"]
    assert counted.get_total_flops() == pytest.approx(16 * expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_parts_are_the_whole_step(digits: ImageData, tiny_run: Callable[..., Run], precision: str) -> None:
    parts = epoch_parts(tiny_run(batch_size=64, precision=precision).spec, digits, steps=1, rounds=1)
    assert set(parts) == {*STEP_PARTS.values(), "evaluation", "logging", "checkpoint"}
    assert set(OVERHEAD) < set(parts)
    assert all(seconds > 0 for seconds in parts.values())


def test_blocks_train(digits: ImageData, tiny_run: Callable[..., Run]) -> None:
    spec = tiny_run(batch_size=64).spec
    trainer = Trainer(spec, 0, digits, CPU)
    before = trainer.model.get_submodule("layers.fc2").weight.detach().clone()
    assert core(trainer)(7) > 0, "more steps than an epoch has"
    assert not torch.equal(before, trainer.model.get_submodule("layers.fc2").weight)
    calls: list[int] = []
    assert repeat(lambda: calls.append(1), CPU)(3) >= 0
    assert len(calls) == 3
    assert plain_loop(digits, spec)(1) > 0


def test_a_worker_is_a_process_that_does_what_it_is_told() -> None:
    worker = Worker(calls_of_a_worker, 20)
    assert worker.call("add", 3) == 23
    worker.close()


def calls_of_a_worker(base: int) -> dict[str, Callable[[int], int]]:
    return {"add": lambda number: base + number}


def test_the_gpu_benchmark_runs_unchanged_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same lines; what a CPU has not (TF32, capture, a compiler that is worth its time) is left out."""
    monkeypatch.setattr(gpu, "VARIANTS", {k: v for k, v in gpu.VARIANTS.items() if not v[3]})
    monkeypatch.setattr(gpu, "ROUNDS", 1)
    monkeypatch.setattr(gpu, "WARM_UP", 1)
    monkeypatch.setattr(gpu, "AT_ONCE", (1, 2))
    monkeypatch.setattr(gpu, "made_up", lambda images, classes: made_up(1500, classes))
    monkeypatch.setenv("REPRO_DATA_DIR", str(tmp_path))
    json_path = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--width", "0.06", "--steps", "1", "--json", str(json_path)]
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
    gpu.main()
    lines = capsys.readouterr().out.splitlines()
    assert any("random images, since CIFAR-10 was not found" in line for line in lines)
    assert "all runs" in lines[-1], "the table comes last"
    assert json.loads(json_path.read_text())["projected"]["epochs of all runs"] > 1000
