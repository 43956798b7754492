"""Every experiment of ``baselines``, ``formats`` and ``quantizers`` through the real trainer, and what it leaves."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from repro.config import Run, load_config
from repro.quant import quant_layers
from repro.train import Interrupted, Settings, train_run
from repro.train.build import build_model
from repro.train.checkpoint import WEIGHTS_NAME
from repro.train.measure import count_parameters, model_sizes
from tests.conftest import PROJECT

MakeRun = Callable[..., Run]
EXPERIMENTS = [e.name for e in load_config(PROJECT / "config.yaml").experiments.values()
               if e.group in ("baselines", "formats", "quantizers")]  # fmt: skip
STATEFUL = [name for name in EXPERIMENTS if name.startswith(("lsq", "pact", "quantizer_apot"))]
NOISE = {"name": "gaussws", "bit_width": 4}
ANNEALED = {"name": "statsq_annealed", "bit_width": 4, "start": 1, "boundary_range": 0.1}


def stop_after(steps: int) -> Callable[[], bool]:
    count = iter(range(1, 10**9))
    return lambda: next(count) >= steps


def saved(results: Path, run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.directory(results) / WEIGHTS_NAME, weights_only=True)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains(tmp_path: Path, tiny_run: MakeRun, experiment: str, precision: str) -> None:
    run = tiny_run(experiment, epochs=1, precision=precision)
    record = train_run(run, Settings(results=tmp_path))
    assert math.isfinite(record.summary["final_train_loss"])
    assert math.isfinite(record.summary["final_test_loss"])
    assert record.summary["parameters"] == record.size["fp32_bytes"] / 4
    inner = run.spec["quantized_layers"] == "inner"
    assert [layer["quantized"] for layer in record.layers] == [not inner, *[True] * 6, not inner]
    model = build_model(run.spec, 10)
    model.load_state_dict(saved(tmp_path, run))
    for described, layer in zip(record.layers, quant_layers(model).values(), strict=True):
        if layer.weight_quantizer is not None:
            assert 1 <= described["levels"] <= layer.weight_quantizer.max_levels
            assert described["scale"] > 0


def resumed_bit_for_bit(folder: Path, run: Run, stops: Iterable[int]) -> dict[str, torch.Tensor]:
    """Weights of a whole run, which are those of one that was stopped after so many steps, each time."""
    train_run(run, Settings(results=folder / "whole"))
    for steps in stops:
        with pytest.raises(Interrupted):
            train_run(run, Settings(results=folder / "parts", stop=stop_after(steps)))
    train_run(run, Settings(results=folder / "parts"))
    whole, parts = saved(folder / "whole", run), saved(folder / "parts", run)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    return whole


@pytest.mark.parametrize("experiment", STATEFUL)
def test_learned_steps_and_clips_resume_bit_for_bit(tmp_path: Path, tiny_run: MakeRun, experiment: str) -> None:
    run = tiny_run(experiment, epochs=2, batch_size=64)  # 4 steps an epoch
    whole = resumed_bit_for_bit(tmp_path, run, (1, 2))
    fresh = build_model(run.spec, 10).state_dict()
    learned = [key for key in whole if key.endswith(("_quantizer.step", "_quantizer.clip"))]
    assert len(learned) == 6 * (2 if experiment == "lsq_w4a4_cifar10" else 1)
    assert all(not torch.equal(whole[key], fresh[key]) for key in learned), "the optimiser has trained them"


@pytest.mark.parametrize("quantizer", [NOISE, ANNEALED], ids=["noise", "annealed"])
def test_noise_and_annealing_resume_bit_for_bit(
    tmp_path: Path, tiny_run: MakeRun, quantizer: dict[str, object]
) -> None:
    """In the middle of both epochs, of which the second one anneals; there some weights settle, and some move."""
    run = tiny_run(quantizer=quantizer, epochs=2, batch_size=64)
    whole = resumed_bit_for_bit(tmp_path, run, (2, 4))
    settled = [value.float().mean().item() for key, value in whole.items() if key.endswith(".settled")]
    assert len(settled) == (8 if quantizer is ANNEALED else 0)
    assert all(0.5 < share < 1 for share in settled)


def test_sizes_count_what_a_file_would_hold(tiny_run: MakeRun) -> None:
    """Learned steps and clips are no parameters of the network; NF4 has a scale a block, FP32 layers are whole."""
    plain = build_model(tiny_run("fp32_cifar10").spec, 10)
    parameters = count_parameters(plain)["parameters"]
    weights = [layer.weight.numel() for layer in quant_layers(plain).values()]
    main = model_sizes(build_model(tiny_run("main_cifar10").spec, 10))
    for experiment in EXPERIMENTS:
        model = build_model(tiny_run(experiment).spec, 10)
        assert count_parameters(model)["parameters"] == parameters
        assert model_sizes(model)["fp32_bytes"] == 4 * parameters
    nf4 = model_sizes(build_model(tiny_run("nf4_cifar10").spec, 10))
    blocks = sum(-(-count // 64) for count in weights)
    assert nf4["packed_bytes"] == main["packed_bytes"] + 4 * (blocks - 8)
    fp8 = model_sizes(build_model(tiny_run("fp8_e4m3_cifar10").spec, 10))
    assert fp8["packed_bytes"] == main["packed_bytes"] + sum(weights) / 2
    lsq = model_sizes(build_model(tiny_run("lsq_w4a4_cifar10").spec, 10))
    whole = weights[0] + weights[-1]  # at 4 bytes, not half a one; 6 scales, not 8; a step and a flag an input
    assert lsq["packed_bytes"] == main["packed_bytes"] + 3.5 * whole + 4 * (6 - 8) + 6 * (4 + 1)
    dorefa = model_sizes(build_model(tiny_run("dorefa_w4a4_cifar10").spec, 10))
    assert dorefa["packed_bytes"] == lsq["packed_bytes"] - 6 * (4 + 1), "its inputs need nothing stored"
