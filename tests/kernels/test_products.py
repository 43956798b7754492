"""Winograd's convolutions, and bfloat16 products without instructions for them, against autocast and float64."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from repro.kernels import product, products
from repro.quant import QuantConv2d, QuantLinear

ROUNDING = 2**-8  # bfloat16's, of a value


@pytest.fixture(autouse=True)
def no_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda: False)


@pytest.fixture
def winograd(monkeypatch: pytest.MonkeyPatch, kernels: None) -> list[torch.Size]:
    """The shapes of the images that went through Winograd's transforms."""
    seen: list[torch.Size] = []
    original = products._Winograd.apply

    class Spy(products._Winograd):
        @staticmethod
        def apply(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            seen.append(images.shape)
            return original(images, weight, bias)

    monkeypatch.setattr(products, "_Winograd", Spy)
    return seen


def images_of(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def autocast(enabled: bool = True) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)


def bfloat16(values: Tensor) -> Tensor:
    """Rounded to bfloat16, in float64."""
    return values.detach().bfloat16().double()


def step(layer: nn.Module, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
    """Output and all gradients of one call under autocast; they are the same where backward is called inside it."""
    results = []
    for inside in (True, False):
        layer.zero_grad()
        inputs = inputs.detach().requires_grad_()
        with autocast():
            output = layer(inputs)
        with autocast(inside):
            output.backward(gradient.to(output.dtype))
        results.append([output.detach(), inputs.grad, *(parameter.grad for parameter in layer.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    return results[0]


def exact(operation: Callable[..., Tensor], layer: nn.Module, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
    """The same in float64 on the factors that bfloat16 leaves."""
    leaves = [bfloat16(values).requires_grad_() for values in (inputs, *layer.parameters())]
    output = operation(leaves[0], leaves[1], leaves[2] if len(leaves) == 3 else None)
    output.backward(bfloat16(gradient))
    return [output.detach(), *(leaf.grad for leaf in leaves)]


def assert_rounded(results: list[Tensor], references: list[Tensor], tiny: float) -> None:
    """Each number is the reference's, rounded once to bfloat16, and ``tiny`` of the largest beside it."""
    for result, reference in zip(results, references, strict=True):
        bound = ROUNDING * reference.abs() + tiny * reference.abs().max()
        assert ((result.double() - reference).abs() <= bound).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "channels"),
    [((2, 16, 8, 8), 16), ((1, 16, 4, 4), 17), ((3, 65, 4, 12), 130), ((2, 64, 16, 16), 64), ((1, 128, 8, 4), 16)],
)
def test_winograd_is_a_convolution(
    shape: tuple[int, ...], channels: int, bias: bool, winograd: list[torch.Size]
) -> None:
    torch.manual_seed(0)
    layer = QuantConv2d(shape[1], channels, 3, padding=1, bias=bias).to(memory_format=torch.channels_last)
    inputs, gradient = images_of(*shape), images_of(shape[0], channels, *shape[2:])
    results = step(layer, inputs, gradient)
    assert winograd == [torch.Size(shape)] * 2
    assert results[0].dtype == torch.bfloat16
    assert results[0].is_contiguous(memory_format=torch.channels_last)
    assert {result.dtype for result in results[1:]} == {torch.float32}
    assert_rounded(results, exact(partial(conv2d, padding=1), layer, inputs, gradient), 5e-5)
    planar = step(layer, inputs, gradient.contiguous())
    assert all(torch.equal(one, two) for one, two in zip(results, planar, strict=True))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"in_channels": 3, "out_channels": 16, "kernel_size": 3, "padding": 1}, (2, 3, 8, 8)),
        ({"in_channels": 16, "out_channels": 8, "kernel_size": 3, "padding": 1}, (2, 16, 8, 8)),
        ({"in_channels": 16, "out_channels": 16, "kernel_size": 1}, (2, 16, 8, 8)),
        ({"in_channels": 16, "out_channels": 16, "kernel_size": 5, "padding": 1}, (2, 16, 8, 8)),
        ({"in_channels": 16, "out_channels": 16, "kernel_size": 3, "padding": 1, "stride": 2}, (2, 16, 8, 8)),
        ({"in_channels": 16, "out_channels": 16, "kernel_size": 3, "padding": 0}, (2, 16, 8, 8)),
        ({"in_channels": 16, "out_channels": 16, "kernel_size": 3, "padding": "same"}, (2, 16, 8, 8)),
        ({"in_channels": 16, "out_channels": 16, "kernel_size": 3, "padding": 2, "dilation": 2}, (2, 16, 8, 8)),
        ({"in_channels": 32, "out_channels": 32, "kernel_size": 3, "padding": 1, "groups": 2}, (2, 32, 8, 8)),
        ({"in_channels": 16, "out_channels": 16, "kernel_size": 3, "padding": 1}, (2, 16, 6, 8)),
        ({"in_channels": 16, "out_channels": 16, "kernel_size": 3, "padding": 1}, (2, 16, 8, 7)),
    ],
)
def test_other_convolutions_are_summed_in_fp32(
    options: dict[str, object], shape: tuple[int, ...], winograd: list[torch.Size]
) -> None:
    torch.manual_seed(0)
    layer = QuantConv2d(**options).to(memory_format=torch.channels_last)
    inputs = images_of(*shape)
    gradient = torch.randn_like(layer(inputs))
    results = step(layer, inputs, gradient)
    names = ("stride", "padding", "dilation", "groups")
    operation = partial(conv2d, **{name: getattr(layer, name) for name in names})
    assert_rounded(results, exact(operation, layer, inputs, gradient), 1e-5)
    assert winograd == []


def test_planar_images_and_other_paddings_are_no_winograds(winograd: list[torch.Size]) -> None:
    torch.manual_seed(0)
    layer = QuantConv2d(16, 16, 3, padding=1)
    circular = QuantConv2d(16, 16, 3, padding=1, padding_mode="circular")
    with autocast(), torch.no_grad():
        planar = layer(images_of(2, 16, 8, 8).contiguous())
        wrapped = circular(inputs := images_of(2, 16, 8, 8))
    assert winograd == []
    assert planar.dtype == wrapped.dtype == torch.bfloat16
    padded = nn.functional.pad(bfloat16(inputs), (1, 1, 1, 1), mode="circular")
    assert_rounded([wrapped], [conv2d(padded, bfloat16(circular.weight), bfloat16(circular.bias))], 1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    torch.manual_seed(0)
    layer, inputs, gradient = QuantLinear(70, 30, bias=bias), torch.randn(9, 70), torch.randn(9, 30)
    assert_rounded(step(layer, inputs, gradient), exact(linear, layer, inputs, gradient), 1e-5)


@pytest.mark.parametrize("kind", ["winograd", "convolution", "linear"])
def test_equals_autocast_within_its_rounding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = {
        "winograd": QuantConv2d(16, 32, 3, padding=1),
        "convolution": QuantConv2d(16, 32, 3, stride=2),
        "linear": QuantLinear(40, 30),
    }[kind]
    inputs = torch.randn(16, 40) if kind == "linear" else images_of(2, 16, 8, 8)
    gradient = torch.randn_like(layer(inputs))
    ours = step(layer, inputs, gradient)
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda: True)
    theirs = step(layer, inputs, gradient)
    for our, their in zip(ours, theirs, strict=True):
        assert our.dtype == their.dtype
        assert our.shape == their.shape
        # torch's own convolution without instructions adds up a window's gradients in bfloat16
        assert ((our - their).abs() <= 2 * ROUNDING * their.abs() + 2 * ROUNDING * their.abs().max()).all()


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((4, 64, 16, 16), 64),
        ((1, 32, 4, 4), 33),
        ((3, 65, 4, 12), 130),
        ((9, 64, 32, 32), 64),  # three chunks of images, the last one shorter
        ((70, 48, 8, 8), 128),
    ],
)
def test_fp32_within_1e_5_of_the_largest(
    shape: tuple[int, ...], channels: int, winograd: list[torch.Size], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer = QuantConv2d(shape[1], channels, 3, padding=1).to(memory_format=torch.channels_last)
    inputs, gradient = images_of(*shape), images_of(shape[0], channels, *shape[2:])
    leaves = [values.detach().double().requires_grad_() for values in (inputs, layer.weight, layer.bias)]
    expected = conv2d(*leaves, padding=1)
    expected.backward(gradient.double())
    outputs = {}
    for kernels in ("fused", "torch"):
        if kernels == "torch":
            monkeypatch.setattr(products, "library", lambda: None)
        leaf = inputs.clone().requires_grad_()
        layer.zero_grad()
        output = layer(leaf)
        output.backward(gradient)
        outputs[kernels] = output.detach()
        results = [output.detach(), leaf.grad, layer.weight.grad, layer.bias.grad]
        for result, reference in zip(results, [expected.detach(), *(leaf.grad for leaf in leaves)], strict=True):
            assert result.dtype == torch.float32
            assert (result.double() - reference).abs().max() < 1e-5 * reference.abs().max()
        assert leaf.grad.is_contiguous(memory_format=torch.channels_last)
    assert winograd == [torch.Size(shape)]
    assert not torch.equal(outputs["fused"], outputs["torch"])


def test_thin_fp32_convolutions_are_torchs_own(winograd: list[torch.Size]) -> None:
    torch.manual_seed(0)
    layer, inputs = QuantConv2d(16, 64, 3, padding=1), images_of(2, 16, 8, 8)
    assert torch.equal(layer(inputs), conv2d(inputs, layer.weight, layer.bias, padding=1))
    assert torch.equal(layer.double()(inputs.double()), conv2d(inputs.double(), layer.weight, layer.bias, padding=1))
    assert winograd == []


def test_frozen_weights_get_no_gradient(winograd: list[torch.Size]) -> None:
    torch.manual_seed(0)
    layer, inputs = QuantConv2d(32, 32, 3, padding=1), images_of(2, 32, 8, 8).requires_grad_()
    layer.requires_grad_(False)
    layer(inputs).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is None
    assert inputs.grad is not None
    assert len(winograd) == 1


def test_images_that_need_no_gradient_get_none(winograd: list[torch.Size]) -> None:
    torch.manual_seed(0)
    layer, inputs = QuantConv2d(16, 16, 3, padding=1), images_of(2, 16, 8, 8)
    with autocast():
        layer(inputs).float().sum().backward()
    alone = layer.weight.grad.clone()
    layer.zero_grad()
    leaf = inputs.clone().requires_grad_()
    with autocast():
        layer(leaf).float().sum().backward()
    assert len(winograd) == 2
    assert inputs.grad is None
    assert torch.equal(alone, layer.weight.grad)
    with torch.inference_mode(), autocast():
        evaluated = layer(inputs)
    with torch.no_grad(), autocast():
        assert torch.equal(evaluated, layer(inputs))


def test_double_backward_is_refused(winograd: list[torch.Size]) -> None:
    layer, inputs = QuantConv2d(16, 16, 3, padding=1), images_of(1, 16, 4, 4).requires_grad_()
    with autocast():
        output = layer(inputs)
    (gradient,) = torch.autograd.grad(output.float().square().sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_same_threads_same_bits(threads: int, one_thread: None, winograd: list[torch.Size]) -> None:
    torch.manual_seed(0)
    layer, inputs, gradient = QuantConv2d(16, 65, 3, padding=1), images_of(3, 16, 8, 8), images_of(3, 65, 8, 8)
    alone = step(layer, inputs, gradient)
    torch.set_num_threads(threads)
    first, second = step(layer, inputs, gradient), step(layer, inputs, gradient)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
    assert_rounded(first, [tensor.double() for tensor in alone], 1e-4)


def test_untouched_where_autocast_does_not_ask_or_the_processor_can(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    tensors = (images_of(2, 16, 8, 8), torch.randn(16, 16, 3, 3), torch.randn(16))

    def operation(*arguments: Tensor) -> Tensor:
        seen.append(tuple(map(id, arguments)))
        return arguments[0]

    own = tuple(map(id, tensors))
    assert product(operation, *tensors, padded_3x3=True) is tensors[0]
    with torch.autocast("cpu", dtype=torch.float16):
        product(operation, *tensors, padded_3x3=True)
    with autocast(enabled=False):
        product(operation, *tensors, padded_3x3=True)
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda: True)
    with autocast():
        product(operation, *tensors, padded_3x3=True)
    assert seen == [own] * 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_comes_through(value: float, winograd: list[torch.Size]) -> None:
    """At least where convolution by the definition has it; Winograd's tile is lost as a whole."""
    torch.manual_seed(0)
    layer, inputs = QuantConv2d(16, 16, 3, padding=1), images_of(2, 16, 12, 12)
    inputs[1, 3, 5, 5] = value
    expected = conv2d(inputs.double(), layer.weight.double(), layer.bias.double(), padding=1)
    with autocast():
        output = layer(inputs)
    lost, least = ~output.isfinite(), ~expected.isfinite()
    assert len(winograd) == 1
    assert (lost | ~least).all()
    assert not lost[0].any()
    assert not lost[1, :, :, 8:].any()
    output.float().sum().backward()
    assert not layer.weight.grad[:, 3].isfinite().any()


def test_processors_own_account() -> None:
    from repro.kernels.products import multiplies_bfloat16  # not the fixture's

    assert isinstance(multiplies_bfloat16(), bool)
