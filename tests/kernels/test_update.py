"""The update in one pass against torch's AdamW and the clips around it; the quantiser's pass against torch's."""

import copy
import io
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from repro.optim import FusedUpdate, WeightClip, adamw, clip_gradients
from repro.quant.functional import absmax, fake_quantize, quantize

pytestmark = pytest.mark.usefixtures("kernels")
CLIPS = {"none": {}, "tanh": {"bound": 3.0}, "hard": {"bound": 1.5}}


class Side:
    """Parameters of several shapes and layouts, their optimiser and their clip."""

    def __init__(self, clip: str = "tanh", scale: float = 1.0) -> None:
        torch.manual_seed(0)
        shapes = [(16, 8, 3, 3), (3000,), (70, 30), (5, 1, 1, 1)]
        tensors = [scale * torch.randn(shape) for shape in shapes]
        tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
        self.parameters = [nn.Parameter(tensor) for tensor in tensors]
        self.optimizer = adamw(self.parameters, 1e-2, 0.9, 0.999, 0.1)
        self.clip = WeightClip([self.parameters[0], self.parameters[2]], clip, **CLIPS[clip])
        self.fused = FusedUpdate(self.optimizer, self.clip, self.parameters)

    def give(self, seed: int) -> None:
        """Gradients that lie in memory as their parameters do; so autograd makes them."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters:
            parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))

    def by_torch(self, max_norm: float | None) -> Tensor:
        norm = clip_gradients([p.grad for p in self.parameters], max_norm)
        self.optimizer.step()
        self.clip.step()
        return norm

    def by_kernel(self, max_norm: float | None) -> Tensor:
        assert self.fused.serves()
        return self.fused.step(max_norm)

    def all_tensors(self) -> list[Tensor]:
        states = [self.optimizer.state[p] for p in self.parameters]
        moments = [state[name] for state in states for name in ("exp_avg", "exp_avg_sq", "step")]
        return [*(p.detach() for p in self.parameters), *moments, *self.clip.moved]


def assert_near(ours: Side, theirs: Side, ulps: float) -> None:
    """Within so many units in the last place of each tensor's largest number; where there is none, in both.

    How far a clip moved a weight is a difference of near equals: its unit is the weight's.
    """
    largest = [tensor.nan_to_num().abs().amax() for tensor in theirs.all_tensors()]
    largest[-len(theirs.clip.moved) :] = [weight.detach().nan_to_num().abs().amax() for weight in theirs.clip.weights]
    for our, their, size in zip(ours.all_tensors(), theirs.all_tensors(), largest, strict=True):
        numbers = their.isfinite()
        assert torch.equal(our[~numbers].isnan(), their[~numbers].isnan())
        assert our[numbers].isfinite().all()
        assert ((our - their)[numbers].abs() <= ulps * 2**-23 * size).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("max_norm", [None, 0.5, 1e6])
@pytest.mark.parametrize("clip", CLIPS)
def test_steps_are_torchs(clip: str, max_norm: float | None, threads: int, one_thread: None) -> None:
    """Weights of up to 4: beyond 1.875 the tanh clip takes its slow branch, below its polynomial."""
    torch.set_num_threads(threads)
    for scale in (0.1, 1.0):
        ours, theirs = Side(clip, scale), Side(clip, scale)
        assert (ours.parameters[0].abs().max() > 1.875) == (scale == 1.0)
        for step in range(6):
            versions = [p._version for p in ours.parameters]
            for side in (ours, theirs):
                side.give(step)
            kept = [p.grad.clone() for p in ours.parameters]
            if step == 0:
                assert not ours.fused.serves(), "the first step is torch's: it makes the state"
                ours.by_torch(max_norm), theirs.by_torch(max_norm)
                continue
            norms = ours.by_kernel(max_norm), theirs.by_torch(max_norm)
            assert torch.allclose(*norms, rtol=1e-6)
            assert all(p._version > before for p, before in zip(ours.parameters, versions, strict=True))
            assert all(torch.equal(p.grad, grad) for p, grad in zip(ours.parameters, kept, strict=True))
        assert_near(ours, theirs, 8)
        assert all(bool(m.any()) == (clip == "tanh" or (clip == "hard" and scale == 1)) for m in ours.clip.moved)


def test_a_weight_that_tanh_leaves_alone_keeps_all_its_bits() -> None:
    """For small weights b tanh(w / b) is w; for no size is the polynomial more than 2 ulp off."""
    sides = Side(), Side()
    for side in sides:
        side.give(0)
        side.by_torch(None)
        side.optimizer.param_groups[0].update(lr=0.0, weight_decay=0.0)
        flat = side.parameters[2].data.view(-1)
        flat.copy_(torch.logspace(-30, 0.27, flat.numel()))
        flat[::2] *= -1
        side.give(1)
    before = sides[0].parameters[2].detach().clone().double()
    sides[0].by_kernel(None), sides[1].by_torch(None)
    after = sides[0].parameters[2].detach().double()
    exact = 3 * torch.tanh(before / 3)
    assert ((after - exact).abs() <= 2 * 2**-23 * exact.abs()).all()
    assert_near(*sides, 4)


def test_a_gradient_that_lies_otherwise_in_memory() -> None:
    """Torch's own fused AdamW would take its numbers for other weights'; autograd makes no such gradient."""
    plain, other = Side(), Side()
    for step in range(3):
        for side in (plain, other):
            side.give(step)
        if step == 0:
            plain.by_torch(0.5), other.by_torch(0.5)
            continue
        other.parameters[0].grad = other.parameters[0].grad.contiguous()
        plain.by_kernel(0.5), other.by_kernel(0.5)
    assert_near(other, plain, 1)  # the norm is summed in another order


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_gradients_that_are_no_numbers(clip: str, value: float, max_norm: float | None) -> None:
    ours, theirs = Side(clip), Side(clip)
    for step in range(3):
        for side in (ours, theirs):
            side.give(step)
            if step == 1:
                side.parameters[2].grad[3, 4] = value
        (ours.by_torch if step == 0 else ours.by_kernel)(max_norm)
        theirs.by_torch(max_norm)
    assert_near(ours, theirs, 8)
    lost = ours.parameters[2].isnan()
    assert lost.all() if max_norm is not None and math.isnan(value) else lost[3, 4]


@pytest.mark.parametrize("start", ["torch", "kernel"])
def test_state_moves_between_the_two(start: str) -> None:
    first, whole = Side(), Side()
    for step in range(4):
        for side in (first, whole):
            side.give(step)
        (first.by_kernel if start == "kernel" and step else first.by_torch)(0.5)
        (whole.by_kernel if step else whole.by_torch)(0.5)
    file = io.BytesIO()
    torch.save((first.optimizer.state_dict(), [p.detach() for p in first.parameters], first.clip.moved), file)
    file.seek(0)
    state, weights, moved = torch.load(file, weights_only=True)
    second = Side()
    second.optimizer.load_state_dict(state)
    for tensors, values in ((second.parameters, weights), (second.clip.moved, moved)):
        for tensor, value in zip(tensors, values, strict=True):
            tensor.data.copy_(value)
    for step in range(4, 7):
        for side in (second, whole):
            side.give(step)
        (second.by_torch if start == "kernel" else second.by_kernel)(0.5)
        whole.by_kernel(0.5)
    assert_near(second, whole, 8)
    assert [int(second.optimizer.state[p]["step"]) for p in second.parameters] == [7] * 4


def test_resumed_by_the_kernel_is_the_same_bits() -> None:
    whole, second = Side(), Side()
    for step in range(6):
        whole.give(step)
        (whole.by_kernel if step else whole.by_torch)(0.5)
        if step == 2:
            second.optimizer.load_state_dict(copy.deepcopy(whole.optimizer.state_dict()))
            for tensors, values in ((second.parameters, whole.parameters), (second.clip.moved, whole.clip.moved)):
                for tensor, value in zip(tensors, values, strict=True):
                    tensor.data.copy_(value)
        if step > 2:
            second.give(step)
            second.by_kernel(0.5)
    assert all(torch.equal(a, b) for a, b in zip(whole.all_tensors(), second.all_tensors(), strict=True))


def test_what_the_kernel_leaves_to_torch() -> None:
    def prepared() -> Side:
        side = Side()
        side.give(0)
        side.by_torch(None)
        side.give(1)
        return side

    assert prepared().fused.serves()
    side = prepared()
    side.parameters[1].grad = None
    assert not side.fused.serves()
    side = prepared()
    state = side.optimizer.state[side.parameters[0]]
    state["exp_avg"] = state["exp_avg"].contiguous()  # as a checkpoint of a planar model has it
    assert not side.fused.serves()
    side = prepared()
    side.clip.moved[0] = side.clip.moved[0].contiguous()
    assert not FusedUpdate(side.optimizer, side.clip, side.parameters).serves()
    side = prepared()
    side.clip.name = "another"
    assert not side.fused.serves()
    side = prepared()
    side.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3))], "lr": 1.0})
    assert not side.fused.serves()
    transposed = nn.Parameter(torch.randn(4, 6).t())
    transposed.grad = torch.randn(6, 4)
    optimizer = adamw([transposed], 1e-2, 0.9, 0.999, 0.1)
    optimizer.step()
    assert not FusedUpdate(optimizer, WeightClip([transposed], "none"), [transposed]).serves()
    other = torch.optim.SGD(prepared().parameters, 0.1)
    assert not FusedUpdate(other, WeightClip([], "none"), []).serves()


def same_bits(ours: Tensor, theirs: Tensor) -> bool:
    """NaN equal to NaN, 0.0 no equal of -0.0."""
    numbers = ~theirs.isnan()
    return torch.equal(ours.isnan(), theirs.isnan()) and torch.equal(
        ours[numbers].view(torch.int32), theirs[numbers].view(torch.int32)
    )


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("scale", [0.25, 0.1, 1e-30, 0.0, math.nan, math.inf])
def test_fake_quantize_has_torchs_bits(scale: float, threads: int, one_thread: None) -> None:
    """Half levels, both zeros, the ends, what is no number, an odd count, and weights as they are drawn."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    special = torch.tensor([0.0, -0.0, -0.3, math.nan, math.inf, -math.inf, 1e-42, -1e-42, 3e38, -3e38])
    halves = torch.arange(-9, 9.5, 0.5) * scale
    weight = torch.cat([special, halves, torch.randn(1001)])
    for shape in (weight.shape, (weight.numel(), 1)):
        for largest in (1, 7, 127):
            flat = weight.reshape(shape)
            assert same_bits(
                fake_quantize(flat, torch.tensor(scale), largest), quantize(flat, torch.tensor(scale), largest) * scale
            )


def test_fake_quantize_in_every_layout(by_torch: Callable[[Callable[[], Tensor]], Tensor]) -> None:
    torch.manual_seed(0)
    planar = torch.randn(6, 5, 3, 3)
    for weight in (
        planar,
        planar.contiguous(memory_format=torch.channels_last),
        planar.transpose(0, 1),
        planar[:, ::2],
    ):
        scale = absmax(weight) / 7
        ours = fake_quantize(weight, scale, 7)
        assert ours.stride() == torch.empty_like(weight).stride()
        assert torch.equal(ours, by_torch(lambda w=weight, s=scale: fake_quantize(w, s, 7)))
    zero = torch.zeros(4, 4)
    assert torch.equal(fake_quantize(zero, absmax(zero) / 7, 7), zero)
    assert fake_quantize(torch.empty(0, 3), torch.tensor(1.0), 7).shape == (0, 3)
    leaf = planar.clone().requires_grad_()
    fake_quantize(leaf, torch.tensor(0.1), 7).backward(2 * torch.ones_like(leaf))
    assert torch.equal(leaf.grad, 2 * torch.ones_like(leaf))
