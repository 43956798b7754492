"""muP's rule of rate and decay: which parameters, how much, and through the real trainer."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from repro.config import Run
from repro.config.registry import MODELS, OPTIMIZERS
from repro.optim import scale_hidden, set_learning_rate
from repro.optim.base import hidden_matrices
from repro.quant import quant_layers
from repro.train import Interrupted, Settings, train_run
from repro.train.build import build_model, build_optimizer
from tests.models.contract import build
from tests.optim.test_optimizers import STEPS, gradients_of, make, some_parameters

RULED = {name: method.width_exponent for name, method in OPTIMIZERS.items() if method.width_exponent is not None}
RATE, DECAY = 0.01, 0.1
MakeRun = Callable[..., Run]


def stepped(name: str, rate: float, decay: float, factor: float | None = None) -> list[nn.Parameter]:
    """The same parameters after the same gradients, at a rate and decay, by the rule where there is a factor."""
    parameters = some_parameters()
    optimizer = make(name, parameters, weight_decay=decay)
    if factor is not None:
        scale_hidden(optimizer, parameters, factor)
    set_learning_rate(optimizer, rate)
    for step in range(STEPS):
        for parameter, gradient in zip(parameters, gradients_of(step, some_parameters()), strict=True):
            parameter.grad = gradient
        optimizer.step()
    return parameters


@pytest.mark.parametrize("name", MODELS)
def test_hidden_matrices_are_the_weights_of_all_layers_but_first_and_last(name: str) -> None:
    model = build(name)
    weights = [layer.weight for layer in quant_layers(model).values()]
    assert [id(p) for p in hidden_matrices(model.parameters())] == [id(weight) for weight in weights[1:-1]]


@pytest.mark.parametrize("name", RULED)
def test_hidden_matrices_step_as_at_their_own_rate_and_decay_and_the_rest_as_before(name: str) -> None:
    """``MuAdamW`` of microsoft/mup: rate / m and decay x m where both sides of a matrix grow."""
    ruled, plain, slow = stepped(name, RATE, DECAY, 4.0), stepped(name, RATE, DECAY), stepped(name, RATE / 4, DECAY * 4)
    hidden = [any(p is matrix for matrix in hidden_matrices(ruled)) for p in ruled]
    assert [place for place, inside in enumerate(hidden) if inside] == [2, 4]
    for parameter, inside, at_rate, at_quarter in zip(ruled, hidden, plain, slow, strict=True):
        assert torch.allclose(parameter, at_quarter if inside else at_rate, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(at_quarter, at_rate, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(stepped(name, RATE, DECAY, 1.0), plain, strict=True))


@pytest.mark.parametrize(("name", "exponent"), RULED.items())
def test_the_factor_is_a_power_of_the_models_width(name: str, exponent: float, tiny_run: MakeRun) -> None:
    """A model of 1/16 of the width whose rate was found at 1/64 of it: m = 4."""
    values = {"learning_rate": RATE, "weight_decay": DECAY, "mup_base_width": 1 / 64}
    options = {key: values.get(key, 0.9) for key in (*OPTIMIZERS[name].options, "mup_base_width")}
    spec = tiny_run(optimizer={"name": name, **options}).spec
    assert spec["model"]["width"] == 1 / 16
    parameters = list(build_model(spec, 10).parameters())
    groups = {
        id(parameter): group
        for group in build_optimizer(spec, parameters).param_groups for parameter in group["params"]
    }  # fmt: skip
    hidden = {id(parameter) for parameter in hidden_matrices(parameters)}
    for parameter in parameters:
        factor = 4**exponent if id(parameter) in hidden else 1
        group = groups[id(parameter)]
        assert group["weight_decay"] == pytest.approx(DECAY * factor)
        assert group.get("rate_factor", 1.0) == pytest.approx(1 / factor)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_run_by_the_rule_resumes_bit_for_bit(name: str, tmp_path: Path, tiny_run: MakeRun) -> None:
    """Through checkpoints, whose groups are held against the run's own."""
    own = {"learning_rate": 1e-3, "weight_decay": 5e-4, "mup_base_width": 1 / 64}
    options = {key: own.get(key, 0.9) for key in (*OPTIMIZERS[name].options, "mup_base_width")}
    run = tiny_run(optimizer={"name": name, **options}, epochs=2, batch_size=64)
    record = train_run(run, Settings(results=tmp_path / "whole"))
    count = iter(range(1, 10**9))
    with pytest.raises(Interrupted):
        train_run(run, Settings(results=tmp_path / "parts", stop=lambda: next(count) >= 6))
    again = train_run(run, Settings(results=tmp_path / "parts"))
    assert again.summary["weights_sha256"] == record.summary["weights_sha256"]
    plain = train_run(
        tiny_run(optimizer={"name": name, **options, "mup_base_width": None}, epochs=2, batch_size=64),
        Settings(results=tmp_path / "plain"),
    )
    assert plain.summary["weights_sha256"] != record.summary["weights_sha256"]
