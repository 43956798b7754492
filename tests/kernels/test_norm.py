"""Batch norm with ReLU and pooling as one operator, against torch's operators and against differences."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from repro.kernels import norm_relu
from repro.kernels.norm import serves

pytestmark = pytest.mark.usefixtures("kernels")
SHAPES = [(4, 1, 2, 2), (3, 3, 6, 4), (5, 8, 4, 10), (2, 17, 8, 8), (16, 64, 16, 16), (2, 5000, 2, 2)]
ERROR = {torch.float32: 2e-5, torch.bfloat16: 2**-7}  # of the largest value: two of bfloat16's roundings


def norm_of(channels: int, dims: int = 4, **options: object) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """With scales of both signs."""
    norm = (nn.BatchNorm2d if dims == 4 else nn.BatchNorm1d)(channels, **options)
    if norm.weight is not None:
        with torch.no_grad():
            norm.weight.normal_()
    if norm.bias is not None:
        with torch.no_grad():
            norm.bias.normal_(std=0.3)
    return norm


def values(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Channels_last where they are images."""
    drawn = (2 * torch.randn(shape) + 0.7).to(dtype)
    return drawn.to(memory_format=torch.channels_last) if drawn.dim() == 4 else drawn


def reference(norm: nn.Module, features: Tensor, *, pool: bool = False) -> Tensor:
    normalized = norm(features)
    return torch.relu(nn.functional.max_pool2d(normalized, 2) if pool else normalized)


def distinct(*shape: int) -> Tensor:
    """No two values of a channel are near each other, so that no rounding moves a maximum or a kink."""
    count = math.prod(shape) // shape[1]
    spread = torch.stack([torch.randperm(count) for _ in range(shape[1])], 1) / count - 0.5
    images = spread.reshape(shape[0], *shape[2:], shape[1])
    return images.movedim(-1, 1).contiguous(
        memory_format=torch.channels_last if len(shape) == 4 else torch.preserve_format
    )


def run(function: Callable[..., Tensor], norm: nn.Module, features: Tensor, pool: bool) -> dict[str, Tensor]:
    """Output, gradients and buffers of a training step."""
    norm, features = copy.deepcopy(norm), features.clone().requires_grad_()
    torch.manual_seed(1)
    output = function(norm, features, pool=pool)
    output.backward(torch.randn(output.shape).to(output.dtype).contiguous(memory_format=torch.preserve_format))
    gradients = {name: parameter.grad for name, parameter in norm.named_parameters()}
    return {"output": output.detach(), "features": features.grad, **gradients, **dict(norm.named_buffers())}


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor], error: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].dtype == expected.dtype, name
        assert ours[name].shape == expected.shape, name
        bound = error * max(1e-3, expected.double().abs().max().item())
        assert (ours[name].double() - expected.double()).abs().max().item() <= bound, name


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_training_step_is_torchs(
    shape: tuple[int, ...], pool: bool, dtype: torch.dtype, threads: int, one_thread: None
) -> None:
    """Of values that bfloat16 makes equal torch takes the first; the kernel the one that was larger before."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    norm, features = (
        norm_of(shape[1]),
        distinct(*shape).to(dtype) if dtype == torch.float32 else values(*shape, dtype=dtype),
    )
    assert serves(norm, features, pool)
    ours, theirs = run(norm_relu, norm, features, pool), run(reference, norm, features, pool)
    assert ours["output"].is_contiguous(memory_format=torch.channels_last)
    assert ours["features"].is_contiguous(memory_format=torch.channels_last)
    if pool and dtype == torch.bfloat16:
        windows = [x.pop("features").float() for x in (ours, theirs)]
        sums = [nn.functional.avg_pool2d(x, 2, divisor_override=1) for x in windows]
        sums += [x.pop("weight") for x in (ours, theirs)]  # it depends on which of the equal it was
        assert_close({"windows": sums[0], "weight": sums[2]}, {"windows": sums[1], "weight": sums[3]}, 2**-5)
    assert_close(ours, theirs, ERROR[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 1), (7, 3), (128, 512)])
def test_features_without_places(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm, features = norm_of(shape[1], dims=2), values(*shape, dtype=dtype)
    assert serves(norm, features, False)
    assert_close(
        run(norm_relu, norm, features, False), run(reference, norm, features, False), 10 * ERROR[dtype]
    )  # of two rows the gradient is a difference of near equals


@pytest.mark.parametrize("pool", [False, True])
def test_gradients_are_central_differences(pool: bool) -> None:
    """Of the float64 function; at an FP32 kernel's error."""
    torch.manual_seed(0)
    norm, features = norm_of(3), 3 * distinct(2, 3, 4, 4)
    weighting = torch.randn(2, 3, 2 if pool else 4, 2 if pool else 4)
    leaf = features.clone().requires_grad_()
    (norm_relu(norm, leaf, pool=pool) * weighting).sum().backward()
    exact = copy.deepcopy(norm).double()

    def loss(place: Tensor, index: int, step: float) -> float:
        flat = place.view(-1) if place.is_contiguous() else place.permute(0, 2, 3, 1).reshape(-1)
        assert flat.data_ptr() == place.data_ptr()
        kept = flat[index].item()
        flat[index] = kept + step
        result = (reference(exact, wide, pool=pool) * weighting.double()).sum().item()
        flat[index] = kept
        return result

    wide = features.double()
    with torch.no_grad():
        for place, gradient in ((wide, leaf.grad), (exact.weight, norm.weight.grad), (exact.bias, norm.bias.grad)):
            flat = gradient.permute(0, 2, 3, 1).reshape(-1) if gradient.dim() == 4 else gradient
            slopes = [(loss(place, i, 1e-6) - loss(place, i, -1e-6)) / 2e-6 for i in range(flat.numel())]
            assert torch.allclose(flat.double(), torch.tensor(slopes, dtype=torch.float64), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pool", [False, True])
def test_zero_tiny_and_negative_scales(pool: bool, training: bool) -> None:
    torch.manual_seed(0)
    norm, features = norm_of(6).train(training), distinct(4, 6, 6, 6)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.0, -0.0, 1e-30, -1e-30, -2.0, 2.0]))
        norm.bias.copy_(torch.tensor([0.5, -0.5, 0.0, 0.0, 0.1, 0.2]))
    if training:
        ours, theirs = run(norm_relu, norm, features, pool), run(reference, norm, features, pool)
        assert_close(ours, theirs, 2e-5)
        tiny = theirs["output"][:, 2].abs().max().item()
        assert 0 < tiny < 1e-28
        assert torch.allclose(ours["output"][:, 2:4], theirs["output"][:, 2:4], rtol=1e-4, atol=1e-34)
        return
    with torch.no_grad():
        assert torch.allclose(norm_relu(norm, features, pool=pool), reference(norm, features, pool=pool), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pool", [False, True])
def test_channels_whose_values_are_all_equal(pool: bool, dtype: torch.dtype) -> None:
    """No variance: what is left is the bias, and 1 / sqrt(eps) times the rounding of the mean."""
    torch.manual_seed(0)
    norm = norm_of(3)
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([0.5, 1.0, -0.5]))
    features = torch.tensor([1.5, -2.0, 0.1]).view(1, 3, 1, 1).expand(8, 3, 6, 6).to(dtype)
    features = features.contiguous(memory_format=torch.channels_last)
    ours, theirs = run(norm_relu, norm, features, pool), run(reference, norm, features, pool)
    for result in (ours, theirs):
        assert all(torch.isfinite(tensor).all() for tensor in result.values())
        for channel, bias in enumerate((0.5, 1.0, 0.0)):
            assert torch.allclose(result["output"][:, channel].float(), torch.tensor(bias), atol=2e-2)
        assert result["running_var"].tolist() == pytest.approx([0.9] * 3, abs=1e-6)
    assert_close(ours, theirs, 1e-4 if dtype == torch.float32 else 2**-7)  # of equal values the first takes it all


def test_a_batch_of_single_pixels() -> None:
    torch.manual_seed(0)
    norm, features = norm_of(5), values(6, 5, 1, 1)
    assert serves(norm, features, False)
    assert_close(run(norm_relu, norm, features, False), run(reference, norm, features, False), 1e-4)
    assert not serves(norm, features, True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pool", [False, True])
def test_what_is_no_number_shows_where_torch_shows_it(
    pool: bool, training: bool, dtype: torch.dtype, value: float
) -> None:
    """Channels: positive, negative and zero scale, and one that has numbers only; each place of a window in turn."""
    torch.manual_seed(0)
    for place in range(4):
        norm, features = norm_of(4).train(training), values(3, 4, 4, 4, dtype=dtype)
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([1.0, -1.0, 0.0, 1.0]))
            features[1, :3, 2 + place // 2, place % 2] = value
        if training:
            ours, theirs = run(norm_relu, norm, features, pool), run(reference, norm, features, pool)
            names = ["output", "running_var"] if pool else ["output", "features", "weight", "running_var"]
        else:
            with torch.no_grad():
                ours, theirs = ({"output": f(norm, features, pool=pool)} for f in (norm_relu, reference))
            names = ["output"]
        for name in names:
            assert torch.equal(ours[name].isnan(), theirs[name].isnan()), (name, place)
            assert torch.equal(ours[name].isinf(), theirs[name].isinf()), (name, place)
        assert torch.isfinite(ours["output"][:, 3]).all()
        if training:
            assert ours["features"][:, :3].isnan().all()
            assert torch.isfinite(ours["features"][:, 3]).all()


@pytest.mark.parametrize("pool", [False, True])
def test_subnormal_inputs_and_gradients(pool: bool) -> None:
    torch.manual_seed(0)
    norm, small = norm_of(4), 1e-40 * distinct(4, 4, 4, 4)
    ours, theirs = run(norm_relu, norm, small, pool), run(reference, norm, small, pool)
    if pool:  # outputs are all equal then, and torch takes the first
        ours, theirs = ({**r, "features": nn.functional.avg_pool2d(r["features"], 2)} for r in (ours, theirs))
    assert_close(ours, theirs, 1e-4)
    features, results = distinct(4, 4, 4, 4), []
    for function in (norm_relu, reference):
        own, leaf = copy.deepcopy(norm), features.clone().requires_grad_()
        output = function(own, leaf, pool=pool)
        output.backward(1e-39 * torch.ones_like(output))
        results.append((leaf.grad, own.weight.grad, own.bias.grad))
    for our, their in zip(*results, strict=True):
        assert their.abs().max() > 0
        assert (our - their).abs().max() <= 1e-3 * their.abs().max()  # subnormals have few digits


@pytest.mark.parametrize(
    "options", [{"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"bias": False}]
)
def test_other_batch_norms_are_torchs(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    try:
        norm = norm_of(4, **options)
    except TypeError:
        pytest.skip("this torch has no such batch norm")
    features = values(4, 4, 4, 4)
    assert not serves(norm, features, False)
    ours, theirs = run(norm_relu, norm, features, True), run(reference, norm, features, True)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_other_tensors_are_torchs(by_torch: Callable[[Callable[[], bool]], bool]) -> None:
    norm, images = norm_of(4), values(4, 4, 6, 6)
    assert serves(norm, images, True)
    odd, planar, wide = values(4, 4, 5, 6), images.contiguous(), images.double()
    for other, pool in (
        (odd, True),
        (planar, True),
        (planar, False),
        (images[:, :, ::2], False),
        (values(4, 4, 6, 5), True),
    ):
        assert not serves(norm, other, pool)
        assert torch.equal(norm_relu(norm, other, pool=pool), reference(norm, other, pool=pool))
    assert not serves(norm, wide, False)
    assert not serves(copy.deepcopy(norm).double(), images, False)
    assert not serves(copy.deepcopy(norm).bfloat16(), images.bfloat16(), False)
    assert not serves(norm, images.half(), False)
    assert not by_torch(lambda: serves(norm, images, True))
    for wrong in (values(4, 4), values(4, 3, 6, 6), values(1, 4, 1, 1), values(0, 4, 0, 6)):
        messages = []
        for function in (norm_relu, reference):
            with pytest.raises((ValueError, RuntimeError)) as caught:
                function(norm, wrong, pool=wrong.numel() == 0)
            messages.append((type(caught.value), str(caught.value)))
        assert messages[0] == messages[1]


def test_a_scale_and_a_bias_that_are_views() -> None:
    """What goes to C as a pointer has been computed, so it lies in order."""
    torch.manual_seed(0)
    norm, plain, features = norm_of(4), nn.BatchNorm2d(4), values(4, 4, 6, 6)
    for name in ("weight", "bias"):
        table = torch.randn(4, 3)
        table[:, 0] = getattr(norm, name).detach()
        getattr(plain, name).data.copy_(table[:, 0])
        setattr(norm, name, nn.Parameter(table[:, 0]))
        assert getattr(norm, name).stride() == (3,)
    assert serves(norm, features, True)
    for pool in (False, True):
        assert torch.equal(norm_relu(norm, features, pool=pool), norm_relu(plain, features, pool=pool))
        with torch.no_grad():
            ours, theirs = (norm_relu(n.eval(), features, pool=pool) for n in (norm, plain))
        assert torch.equal(ours, theirs)
        norm.train(), plain.train()


def test_another_default_dtype_changes_nothing() -> None:
    torch.manual_seed(0)
    norm, features = norm_of(8), values(4, 8, 4, 4)
    expected = run(norm_relu, norm, features, True)
    gradient = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        own, leaf = copy.deepcopy(norm), features.clone().requires_grad_()
        output = norm_relu(own, leaf, pool=True)
        output.sum().backward()
    finally:
        torch.set_default_dtype(gradient)
    assert torch.equal(output.detach(), expected["output"])
    assert leaf.grad.dtype == torch.float32


def test_running_statistics_move_as_torchs() -> None:
    torch.manual_seed(0)
    for momentum in (0.1, 1.0, 0.0):
        ours, theirs = (nn.BatchNorm2d(5, momentum=momentum) for _ in range(2))
        for _ in range(3):
            features = values(3, 5, 4, 4)
            versions = [buffer._version for buffer in ours.buffers()]
            norm_relu(ours, features, pool=True)
            theirs(features)
            assert all(b._version > before for b, before in zip(ours.buffers(), versions, strict=True))
        for name, buffer in theirs.named_buffers():
            assert torch.allclose(ours.get_buffer(name), buffer, rtol=1e-5), name
        assert int(ours.num_batches_tracked) == 3
    with torch.no_grad():  # a pass without gradients moves them too
        norm_relu(ours, features)
    assert int(ours.num_batches_tracked) == 4


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pool", [False, True])
def test_evaluation_uses_running_statistics(pool: bool, dtype: torch.dtype, mode: Callable[[], object]) -> None:
    torch.manual_seed(0)
    norm, features = norm_of(17), values(5, 17, 8, 8, dtype=dtype)
    norm_relu(norm, 3 * features, pool=pool)
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    with mode():
        assert serves(norm, features, pool)
        ours, theirs = norm_relu(norm, features, pool=pool), reference(norm, features, pool=pool)
    assert_close({"output": ours}, {"output": theirs}, ERROR[dtype])
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def test_a_gradient_in_evaluation_is_torchs() -> None:
    torch.manual_seed(0)
    norm, features = norm_of(4).eval(), values(4, 4, 4, 4)
    for leaf in (features.clone().requires_grad_(), features):  # the images', and the scale's alone
        assert not serves(norm, leaf, True)
    for name in ("weight", "bias"):
        frozen = copy.deepcopy(norm)
        frozen.get_parameter(name).requires_grad_(False)
        assert not serves(frozen, features, True)
    ours, theirs = run(norm_relu, norm, features, True), run(reference, norm, features, True)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert serves(norm.requires_grad_(False), features, True)


def test_double_backward_is_refused() -> None:
    norm, features = norm_of(4), values(4, 4, 4, 4).requires_grad_()
    output = norm_relu(norm, features, pool=True)
    (gradient,) = torch.autograd.grad(output.square().sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_an_input_changed_between_the_passes_is_refused() -> None:
    norm, features = norm_of(4), values(4, 4, 4, 4).requires_grad_()
    inside = features * 1
    output = norm_relu(norm, inside)
    inside.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_gradients_that_lie_otherwise_in_memory() -> None:
    torch.manual_seed(0)
    norm, features = norm_of(4), values(4, 4, 4, 4)
    results = []
    for layout in (lambda g: g, lambda g: g.contiguous(), lambda g: g[:, :, :1, :1].expand_as(g)):
        own, leaf = copy.deepcopy(norm), features.clone().requires_grad_()
        output = norm_relu(own, leaf)
        output.backward(layout(torch.full_like(output, 0.5)))
        results.append(leaf.grad)
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_same_threads_same_bits_and_others_close(one_thread: None) -> None:
    torch.manual_seed(0)
    norm, features = norm_of(8), distinct(16, 8, 16, 16)
    results = []
    for threads in (1, 1, 2, 2, 64):
        torch.set_num_threads(threads)
        results.append(run(norm_relu, norm, features, True))
    for first, second in ((0, 1), (2, 3)):
        assert all(torch.equal(results[first][name], results[second][name]) for name in results[first])
    assert_close(results[2], results[0], 1e-5)
    assert_close(results[4], results[0], 1e-5)
