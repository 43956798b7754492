"""Every registered optimiser: the contract of all, and each against its paper's formulas in double precision."""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repro.config import Run
from repro.config.registry import OPTIMIZERS
from repro.data import ImageData
from repro.optim import load_optimizer, set_learning_rate
from repro.optim.muon import RMS, orthogonalize
from repro.train import Trainer
from repro.train.probe import made_up

VALUES = {
    "learning_rate": 0.02, "momentum": 0.9, "beta1": 0.9, "beta2": 0.95, "beta3": 0.98, "weight_decay": 0.1,
    "nesterov": True,
}  # fmt: skip
SHAPES = [(6, 3, 3, 3), (6,), (8, 6, 3, 3), (), (10, 8), (4, 10), (4,)]
STEPS = 6


def make(name: str, parameters: list[nn.Parameter], **changes: Any) -> torch.optim.Optimizer:
    return OPTIMIZERS[name](parameters, **{key: changes.get(key, VALUES[key]) for key in OPTIMIZERS[name].options})


def some_parameters() -> list[nn.Parameter]:
    """As a network has them, a learned step among them; convolutions lie in memory as they do in training."""
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=generator) for shape in SHAPES]
    return [nn.Parameter(v.to(memory_format=torch.channels_last) if v.dim() == 4 else v) for v in values]


def gradients_of(step: int, parameters: list[nn.Parameter]) -> list[Tensor]:
    """At a right angle to the weight in every second channel of every second step: where a projection decides."""
    generator = torch.Generator().manual_seed(100 + step)
    gradients = [torch.randn(p.shape, generator=generator) for p in parameters]
    if step % 2:
        for gradient, parameter in zip(gradients, parameters, strict=True):
            if parameter.dim() > 1:
                over = tuple(range(1, parameter.dim()))
                along = (gradient * parameter).sum(over, keepdim=True) / parameter.square().sum(over, keepdim=True)
                gradient -= (along * parameter).detach()
    return gradients


def run(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        for parameter, gradient in zip(parameters, gradients_of(step, parameters), strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_contract(name: str) -> None:
    """Every parameter moves and stays a number, and a saved state goes on to the same bits."""
    parameters = some_parameters()
    before = copy.deepcopy(parameters)
    optimizer = make(name, parameters)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in parameters}
    run(optimizer, parameters, range(STEPS))
    for now, then in zip(parameters, before, strict=True):
        assert torch.isfinite(now).all()
        assert not torch.equal(now, then)
        assert now.stride() == then.stride()
    copied = copy.deepcopy(parameters)
    again = make(name, copied)
    load_optimizer(again, copy.deepcopy(optimizer.state_dict()))
    run(optimizer, parameters, range(STEPS, 2 * STEPS))
    run(again, copied, range(STEPS, 2 * STEPS))
    assert all(torch.equal(a, b) for a, b in zip(parameters, copied, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rate_that_captured_steps_read_stays_that_tensor(name: str) -> None:
    """On a GPU: a state from elsewhere brings its rate, not a tensor that the next epoch's rate would go to unseen."""
    saved, optimizer = make(name, some_parameters()), make(name, some_parameters())
    set_learning_rate(saved, 0.005)
    rates = [torch.tensor(1.0) for _ in optimizer.param_groups]
    for group, own in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = own
    load_optimizer(optimizer, saved.state_dict())
    assert all(group["lr"] is own for group, own in zip(optimizer.param_groups, rates, strict=True))
    assert [float(own) for own in rates] == pytest.approx([group["lr"] for group in saved.param_groups])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_at_rate_zero_nothing_moves_and_a_gradient_may_be_missing(name: str) -> None:
    parameters = some_parameters()
    before = copy.deepcopy(parameters)
    optimizer = make(name, parameters)
    set_learning_rate(optimizer, 0.0)
    run(optimizer, parameters, range(2))
    assert all(torch.equal(a, b) for a, b in zip(parameters, before, strict=True))
    set_learning_rate(optimizer, 0.01)
    optimizer.zero_grad(set_to_none=True)
    parameters[4].grad = torch.ones_like(parameters[4])
    optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(parameters, before, strict=True)]
    assert moved == [place == 4 for place in range(len(SHAPES))]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_lowers_a_loss(name: str) -> None:
    """Least squares of a small linear network, at a rate that suits the kind of step."""
    generator = torch.Generator().manual_seed(0)
    inputs, target = torch.randn(64, 12, generator=generator), torch.randn(12, 3, generator=generator)
    net = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 3))
    optimizer = make(name, list(net.parameters()), weight_decay=0.0)

    def loss() -> Tensor:
        return (net(inputs) - inputs @ target).square().mean()

    first = loss().item()
    for _ in range(60):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < first / 4


def plain_adam(w: Tensor, g: Tensor, s: dict[str, Any], b1: float, b2: float) -> Tensor:
    s["t"] = s.get("t", 0) + 1
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    return s["m"] / (1 - b1 ** s["t"]) / ((s["v"] / (1 - b2 ** s["t"])).sqrt() + 1e-8)


def plain_lion(w: Tensor, g: Tensor, s: dict[str, Any]) -> Tensor:
    """Algorithm 2 of Chen 2023."""
    m = s.get("m", torch.zeros_like(g))
    s["m"] = 0.95 * m + 0.05 * g
    return w - 0.02 * (torch.sign(0.9 * m + 0.1 * g) + 0.1 * w)


def plain_adan(w: Tensor, g: Tensor, s: dict[str, Any]) -> Tensor:
    """Algorithm 1 of Xie 2022, the paper's betas being 1 less these, with their code's bias corrections."""
    s["t"] = s.get("t", 0) + 1
    difference = g - s.get("g", g)
    s["g"] = g
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.95 * s.get("v", 0) + 0.05 * difference
    s["n"] = 0.98 * s.get("n", 0) + 0.02 * (g + 0.95 * difference) ** 2
    m, v, n = s["m"] / (1 - 0.9 ** s["t"]), s["v"] / (1 - 0.95 ** s["t"]), s["n"] / (1 - 0.98 ** s["t"])
    return (w - 0.02 * (m + 0.95 * v) / (n.sqrt() + 1e-8)) / (1 + 0.02 * 0.1)


def plain_projection(w: Tensor, g: Tensor, step: Tensor) -> tuple[Tensor, float]:
    """Equation 12 of Heo 2021: channel by channel, else as a whole, each by its own angle; with plain loops."""
    if w.dim() < 2:
        return step, 1.0
    for rows in ([list(range(len(w)))][0], None):
        pieces = [(w[i], g[i], step[i]) for i in rows] if rows is not None else [(w, g, step)]
        angles = [abs(float((a * b).sum() / (a.norm() * b.norm()))) for a, b, _ in pieces]
        if max(angles) < 0.1 / math.sqrt(pieces[0][0].numel()):
            parts = [p - a * (a * p).sum() / (a.norm() + 1e-8) ** 2 for a, _, p in pieces]
            return (torch.stack(parts) if rows is not None else parts[0]), 0.1
    return step, 1.0


def plain_adamp(w: Tensor, g: Tensor, s: dict[str, Any]) -> Tensor:
    step, share = plain_projection(w, g, plain_adam(w, g, s, 0.9, 0.95))
    s["projected"] = share < 1
    return w * (1 - 0.02 * 0.1 * share) - 0.02 * step


def plain_sgdp(w: Tensor, g: Tensor, s: dict[str, Any]) -> Tensor:
    s["m"] = 0.9 * s.get("m", 0) + g
    step, share = plain_projection(w, g, g + 0.9 * s["m"])
    s["projected"] = share < 1
    return w * (1 - 0.02 * 0.1 * share / (1 - 0.9)) - 0.02 * step


PLAIN: Mapping[str, Callable[[Tensor, Tensor, dict[str, Any]], Tensor]] = {
    "lion": plain_lion, "adan": plain_adan, "adamp": plain_adamp, "sgdp": plain_sgdp,
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_against_the_formulas_in_double_precision(name: str) -> None:
    parameters = some_parameters()
    optimizer = make(name, parameters)
    exact = [p.detach().double() for p in parameters]
    states: list[dict[str, Any]] = [{} for _ in parameters]
    projections: list[bool] = []
    for step in range(STEPS):
        gradients = gradients_of(step, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        for place, gradient in enumerate(gradients):
            exact[place] = PLAIN[name](exact[place], gradient.double(), states[place])
            projections += [states[place]["projected"]] if "projected" in states[place] else []
        for parameter, expected in zip(parameters, exact, strict=True):
            assert torch.allclose(parameter.double(), expected, rtol=1e-4, atol=1e-5)
    if name.endswith("p"):
        assert True in projections
        assert False in projections


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_an_orthogonalised_matrix_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    """Jordan: between some 0.7 and 1.2, whatever the matrix's own; the directions stay."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalize(matrix)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6
    assert values.max() < 1.3
    rotated = left.T @ result @ right.T
    assert (rotated - rotated.diagonal().diag()).abs().max() < 0.05


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has no Muon")
def test_muon_is_torchs_on_hidden_matrices_and_adamw_elsewhere() -> None:
    ours, theirs = some_parameters(), some_parameters()
    hidden = [2, 4]  # not the first, nor the last
    matrices = {place: nn.Parameter(theirs[place].detach().flatten(1)) for place in hidden}
    rest = {place: p for place, p in enumerate(theirs) if place not in hidden}
    optimizer = make("muon", ours)
    torchs = torch.optim.Muon(
        list(matrices.values()), lr=0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(list(rest.values()), lr=0.02, betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(STEPS):
        gradients = gradients_of(step, ours)
        for place, gradient in enumerate(gradients):
            ours[place].grad = gradient.clone()
            (rest[place] if place in rest else matrices[place]).grad = gradient.reshape(
                rest[place].shape if place in rest else matrices[place].shape
            ).clone()
        for one in (optimizer, torchs, adamw):
            one.step()
    for place, parameter in rest.items():
        assert torch.allclose(ours[place], parameter, rtol=1e-4, atol=1e-5)
    for place, parameter in matrices.items():  # theirs iterates in bfloat16
        largest = STEPS * 0.02 * RMS * math.sqrt(max(parameter.shape))
        assert (ours[place].flatten(1) - parameter).abs().max() < 0.05 * largest


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_trains_between_the_papers_two_clips(name: str, tiny_run: Callable[..., Run]) -> None:
    """Through the real trainer: gradients reach it clipped to a norm of 0.5, and weights leave it clipped."""
    options: dict[str, Any] = {key: VALUES[key] for key in OPTIMIZERS[name].options}
    options["mup_base_width"] = None
    spec = tiny_run("main_cifar10", optimizer={"name": name, **options}, batch_size=32).spec
    data: ImageData = made_up(96, 10)
    seen: list[float] = []
    trainer = Trainer(spec, 0, data, torch.device("cpu"))
    original = trainer.optimizer.step

    def step(*arguments: Any) -> None:
        norms = torch.stack([p.grad.norm() for group in trainer.optimizer.param_groups for p in group["params"]])
        seen.append(float(norms.norm()))
        original(*arguments)

    trainer.optimizer.step = step  # type: ignore[method-assign]
    trainer._fused_update.serves = lambda: False  # type: ignore[method-assign]
    row = trainer.train_epoch()
    assert row["gradient_norm"] > 0.5
    assert len(seen) == 3
    assert all(norm <= 0.5001 for norm in seen)
    assert all(float(moved.max()) > 0 for moved in trainer.weight_clip.moved)
