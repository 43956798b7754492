"""A chain is ``nn.Sequential``, whatever its modules and their order, and steps aside for hooks."""

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from repro.models.chain import Chain

PIECES: dict[str, Callable[[], nn.Module]] = {
    "norm": lambda: nn.BatchNorm2d(4),
    "pool": lambda: nn.MaxPool2d(2),
    "relu": lambda: nn.ReLU(),
    "conv": lambda: nn.Conv2d(4, 4, 3, padding=1),
}
OTHERS = [nn.MaxPool2d(3), nn.MaxPool2d(2, stride=1), nn.MaxPool2d(2, padding=1), nn.MaxPool2d((2, 1)), nn.AvgPool2d(2)]


def results(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Of a training step, then of evaluation."""
    leaf = images.clone().requires_grad_()
    output = model(leaf + 0)
    output.square().sum().backward()
    gradients = [leaf.grad, *(parameter.grad for parameter in model.parameters())]
    with torch.no_grad():
        evaluated = model.eval()(images)
    return [output.detach(), *gradients, *(buffer.float() for buffer in model.buffers()), evaluated]


def assert_same(modules: list[nn.Module]) -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    chain, plain = Chain(*copy.deepcopy(modules)), nn.Sequential(*copy.deepcopy(modules))
    assert list(chain.state_dict()) == list(plain.state_dict())
    ours, theirs = results(chain, images), results(plain, images)
    size = max(their.abs().max().item() for their in theirs)  # some gradients are zero but for rounding
    for our, their in zip(ours, theirs, strict=True):
        assert torch.allclose(our, their, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_any_order_of_modules(length: int) -> None:
    torch.manual_seed(0)
    for names in itertools.product(PIECES, repeat=length):
        if names.count("pool") < 3:
            assert_same([PIECES[name]() for name in names])


@pytest.mark.parametrize("pool", OTHERS, ids=repr)
def test_other_poolings_are_torchs(pool: nn.Module) -> None:
    assert_same([nn.BatchNorm2d(4), pool, nn.ReLU()])


def test_other_subclasses_are_themselves() -> None:
    class Leaky(nn.ReLU):
        def forward(self, values: Tensor) -> Tensor:
            return nn.functional.leaky_relu(values)

    class Doubled(nn.BatchNorm2d):
        def forward(self, values: Tensor) -> Tensor:
            return 2 * super().forward(values)

    assert_same([nn.BatchNorm2d(4), Leaky()])
    assert_same([Doubled(4), nn.MaxPool2d(2), nn.ReLU()])


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_hooks_see_what_they_are_to_see(register: str, place: int) -> None:
    torch.manual_seed(0)
    modules = [nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU()]
    images = torch.randn(3, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    seen: list[list[Tensor]] = []
    for kind in (Chain, nn.Sequential):
        model = kind(*copy.deepcopy(modules))
        calls: list[Tensor] = []
        seen.append(calls)
        getattr(model[place], register)(
            lambda module, *values, calls=calls: calls.append(values[-1][0].detach().clone())
        )
        model(images.clone().requires_grad_()).sum().backward()
    assert len(seen[0]) == len(seen[1]) == 1
    assert torch.allclose(seen[0][0], seen[1][0], atol=1e-5)
