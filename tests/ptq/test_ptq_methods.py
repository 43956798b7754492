"""What every registered PTQ method promises, and what tells them apart."""

import copy
import functools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from repro.config.registry import PTQ_METHODS
from repro.errors import ReproError
from repro.models import VGG
from repro.ptq import attach_stored, quantize_model
from repro.ptq.aciq import allocate_bits
from repro.ptq.calibration import channel_means, correct_biases, output_means, visit_inputs, visit_outputs
from repro.ptq.clipping import gauss_clip, laplace_clip, mse_bound
from repro.ptq.equalization import equalize, fold_batch_norms
from repro.ptq.gptq import input_hessian, round_with_feedback
from repro.quant import QuantConv2d, count_levels, effective_weight, largest_code, quant_layers, quantize
from tests.conftest import example_options

NEEDS_IMAGES = ("aciq", "adaround", "brecq", "cle", "foem", "gptq", "rescomp")


def trained(spread: float = 0.0) -> nn.Module:
    """A network with batch-norm statistics that fit it; ranges of its channels, before and after batch norm,
    differ by e^(spread z).
    """
    return copy.deepcopy(_trained(spread))


@functools.cache
def _trained(spread: float) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = VGG(classes=10, width=0.125, dropout=0.5)
    with torch.no_grad():
        for layer in quant_layers(model).values():
            ranges = torch.randn(len(layer.weight), generator=generator).mul(spread).exp()
            layer.weight.mul_(ranges.reshape(-1, *[1] * (layer.weight.dim() - 1)))
            layer.bias.normal_(generator=generator)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.normal_(std=spread, generator=generator).exp_()
                module.bias.normal_(std=0.3, generator=generator)
        for _ in range(20):
            model.train()(torch.randn(32, 3, 32, 32, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Neighbouring pixels are alike, as in real images."""
    noise = torch.randn(96, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return 3 * nn.functional.avg_pool2d(noise, 3, stride=1, padding=1)


def quantized(name: str, images: Tensor, bits: int = 4, spread: float = 0.0) -> nn.Module:
    model = trained(spread=spread)
    quantize_model(model, name, images, **{**example_options(PTQ_METHODS[name].options), "bit_width": bits})
    return model


@torch.no_grad()
def weight_error(model: nn.Module) -> list[float]:
    return [float((effective_weight(layer) - layer.weight).square().sum()) for layer in quant_layers(model).values()]


@torch.no_grad()
def logit_error(model: nn.Module, images: Tensor, spread: float = 0.0) -> float:
    reference = trained(spread=spread)(images)
    return float((model(images) - reference).norm() / reference.norm())


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("name", PTQ_METHODS)
def test_contract(name: str, bits: int, images: Tensor) -> None:
    """Every layer quantised, no more levels than declared, codes times scale, finite logits, no training mode."""
    model = quantized(name, images, bits)
    for layer in quant_layers(model).values():
        quantizer = layer.weight_quantizer
        codes, scale = quantizer.codes(layer.weight)
        assert codes.shape == layer.weight.shape
        assert codes.dtype == torch.int8
        assert scale.numel() in (1, len(codes))
        assert codes.abs().max() <= largest_code(quantizer.bit_width)
        assert count_levels(layer) <= quantizer.max_levels
        assert torch.equal(effective_weight(layer), codes * scale)
        assert count_levels(layer) > 1
        if name != "aciq":  # which has `bits` on average
            assert quantizer.bit_width == bits
    assert torch.isfinite(model(images)).all()
    assert not model.training


@pytest.mark.parametrize("name", PTQ_METHODS)
def test_8_bits_change_the_logits_little_and_4_bits_more(name: str, images: Tensor) -> None:
    errors = {bits: logit_error(quantized(name, images, bits), images) for bits in (2, 4, 8)}
    assert errors[8] < errors[4] / 5
    assert errors[4] < errors[2]


@pytest.mark.parametrize("name", PTQ_METHODS)
def test_the_same_twice(name: str, images: Tensor) -> None:
    one, two = quantized(name, images).state_dict(), quantized(name, images).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", PTQ_METHODS)
def test_comes_back_from_its_file(name: str, images: Tensor, tmp_path: Path) -> None:
    model = quantized(name, images, spread=1.0)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    again = VGG(classes=10, width=0.125, dropout=0.5).eval()
    attach_stored(again, torch.load(tmp_path / "weights.pt", weights_only=True), bit_width=4)
    assert torch.equal(again(images), model(images))
    widths = [[layer.weight_quantizer.bit_width for layer in quant_layers(m).values()] for m in (again, model)]
    assert all(4 <= ours <= declared for ours, declared in zip(*widths, strict=True))


@pytest.mark.parametrize("name", PTQ_METHODS)
def test_no_images(name: str) -> None:
    options = example_options(PTQ_METHODS[name].options)
    if name in NEEDS_IMAGES:
        with pytest.raises(ReproError, match=f"{name} needs calibration images"):
            quantize_model(trained(), name, None, **options)
    else:
        quantize_model(trained(), name, None, **options)


def test_a_scale_a_channel_or_a_better_bound_leaves_no_larger_error(images: Tensor) -> None:
    plain = weight_error(quantized("absmax", images, spread=0.5))
    for name in ("absmax_channel", "mse"):
        better = weight_error(quantized(name, images, spread=0.5))
        assert all(new <= old for new, old in zip(better, plain, strict=True))
        assert sum(better) < 0.8 * sum(plain)


def test_mse_bound_beats_every_other_bound() -> None:
    """Against a search over 2,000 bounds."""
    rows = torch.randn(3, 500, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.01], [1.0], [40.0]])
    found = mse_bound(rows, 7)

    def error(row: Tensor, bound: float) -> float:
        return float((quantize(row, torch.tensor(bound / 7), 7) * (bound / 7) - row).square().sum())

    for row, bound in zip(rows, found.tolist(), strict=True):
        largest = float(row.abs().max())
        best = min(error(row, largest * step / 2000) for step in range(1, 2001))
        assert error(row, bound) <= 1.02 * best
        assert error(row, bound) < error(row, largest)


def test_clips_are_those_of_the_paper() -> None:
    """Banner 2019, section 2, for 2, 3 and 4 bits, and the tables of the official code to 8 bits."""
    laplace, gauss = [2.83, 3.89, 5.03, 6.2, 7.41, 8.64, 9.89], [1.71, 2.15, 2.55, 2.93, 3.28, 3.61, 3.92]
    assert [laplace_clip(2**bits) for bits in range(2, 9)] == pytest.approx(laplace, abs=0.011)
    assert [gauss_clip(2**bits) for bits in range(2, 9)] == pytest.approx(gauss, abs=0.011)


@pytest.mark.parametrize(("clip", "name"), [(laplace_clip, "laplace"), (gauss_clip, "gauss")])
def test_clips_leave_the_least_error_on_drawn_numbers(clip: object, name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(200_000, generator=generator)
    if name == "laplace":
        draws = torch.empty(200_000).exponential_(generator=generator) * draws.sign()

    def error(bound: float) -> float:
        scale = 2 * bound / 15
        return float((quantize(draws, torch.tensor(scale), 7) * scale - draws).square().mean())

    best = clip(15)
    assert error(best) < min(error(0.8 * best), error(1.25 * best))


def test_bits_follow_the_ranges_and_keep_their_average() -> None:
    assert allocate_bits(torch.ones(7), 4).tolist() == [4] * 7
    assert allocate_bits(torch.rand(33, generator=torch.Generator().manual_seed(0)), 4).sum() == 4 * 33
    three = allocate_bits(torch.tensor([2.0**-1.5, 1.0, 2.0**1.5]), 4)
    assert three.tolist() == [3, 4, 5], "bits differ by 2/3 log2 of the ranges' ratio"
    extreme = allocate_bits(torch.tensor([1e-30, 1e30]), 8)
    assert extreme.tolist() == [8, 8]


def test_aciq_gives_wide_channels_more_bits(images: Tensor) -> None:
    model = quantized("aciq", images, spread=1.0)
    for layer in quant_layers(model).values():
        largest = layer.weight_quantizer.stored_codes.flatten(1).abs().amax(dim=1)
        wide, narrow = layer.weight.flatten(1).norm(dim=1).topk(2).indices, layer.weight.flatten(1).norm(dim=1)
        assert largest[wide].min() >= largest[narrow.topk(2, largest=False).indices].max()
        assert layer.weight_quantizer.bit_width > 4


def test_folding_and_equalising_leave_the_logits(images: Tensor) -> None:
    model = trained(spread=1.0)
    before = model(images)
    fold_batch_norms(model)
    assert torch.allclose(model(images), before, atol=1e-4)
    layers = list(quant_layers(model).values())
    uneven = layers[0].weight.flatten(1).abs().amax(dim=1)
    equalize(model)
    assert torch.allclose(model(images), before, atol=1e-4)
    even = layers[0].weight.flatten(1).abs().amax(dim=1)
    assert even.max() / even.min() < 0.2 * uneven.max() / uneven.min()
    out, into = layers[1].weight.flatten(1).abs().amax(dim=1), layers[2].weight.abs().amax(dim=(0, 2, 3))
    assert torch.allclose(out, into, rtol=0.02), "both layers of a pair give a channel the same range"


def test_a_dead_channel_survives_equalisation(images: Tensor) -> None:
    model = trained()
    with torch.no_grad():
        list(quant_layers(model).values())[2].weight[1] = 0
    before = model(images)
    fold_batch_norms(model)
    equalize(model)
    assert torch.allclose(model(images), before, atol=1e-4)


def test_equalisation_helps_where_channels_differ(images: Tensor) -> None:
    """Its reason to be: one scale a tensor serves no layer whose channels differ by orders of magnitude."""
    plain, equalized = (quantized(name, images, spread=1.5) for name in ("absmax", "cle"))
    assert logit_error(equalized, images, 1.5) < 0.5 * logit_error(plain, images, 1.5)


@pytest.mark.parametrize("name", ["aciq", "cle"])
def test_bias_correction_leaves_no_mean_error(name: str, images: Tensor) -> None:
    """On the calibration images each layer's mean output is the FP32 model's, with all layers before it quantised."""
    model = quantized(name, images)
    reference = trained()
    if name == "cle":
        fold_batch_norms(reference)
        equalize(reference)
    wanted, found = output_means(reference, images), output_means(model, images)
    for layer, mean in wanted.items():
        assert torch.allclose(found[layer], mean, atol=1e-4)
    plain = quantized("absmax", images)
    assert max(float((output_means(plain, images)[k] - v).abs().max()) for k, v in wanted.items()) > 0.01


def test_bias_correction_by_hand() -> None:
    """One layer, weights 1 -> 1.5, inputs of mean 2: the bias falls by 1."""
    layer = nn.Sequential(trained().layers.fc2.__class__(1, 1))
    inputs = torch.tensor([[1.0], [3.0]])
    with torch.no_grad():
        layer[0].weight.fill_(1.0)
        layer[0].bias.zero_()
        target = output_means(layer, inputs)
        layer[0].weight.fill_(1.5)
        correct_biases(layer, inputs, target)
    assert layer[0].bias.item() == pytest.approx(-1.0)


def test_gptq_leaves_less_output_error_than_rounding_to_nearest(images: Tensor) -> None:
    """Layer by layer, with the same scales and the inputs that GPTQ saw."""
    model = trained()
    inputs: dict[int, Tensor] = {}
    visit_inputs(model, images, lambda layer, x: inputs.update({id(layer): x.clone()}))
    for layer in quant_layers(model).values():
        rows = layer.weight.detach().flatten(1)
        scale = mse_bound(rows, 7) / 7
        hessian = input_hessian(layer, inputs[id(layer)])
        nearest = quantize(rows, scale.unsqueeze(1), 7)
        feedback = round_with_feedback(rows, scale, hessian, 7)

        def output_error(codes: Tensor) -> float:
            difference = codes * scale.unsqueeze(1) - rows  # noqa: B023
            return float((difference @ hessian * difference).sum())  # noqa: B023

        assert feedback.abs().max() <= 7
        assert output_error(feedback) < 0.9 * output_error(nearest)


def test_hessian_is_that_of_the_convolutions_patches(images: Tensor) -> None:
    """trace(dW H dW^T) is the mean squared change of the layer's outputs."""
    layer = trained().layers.conv2
    assert isinstance(layer, QuantConv2d)
    inputs = torch.randn(40, layer.in_channels, 8, 8, generator=torch.Generator().manual_seed(2))
    change = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(3))
    output = nn.functional.conv2d(inputs, change, padding=1)
    hessian = input_hessian(layer, inputs)
    rows = change.flatten(1)
    assert (rows @ hessian * rows).sum().item() == pytest.approx(channel_means(output**2).sum().item(), rel=1e-4)


def test_gptq_with_inputs_that_are_always_zero() -> None:
    rows = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    hessian = torch.diag(torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0, 1.0]))
    codes = round_with_feedback(rows, torch.full((4,), 0.3), hessian, 7)
    assert codes[:, 2].eq(0).all()
    other = [0, 1, 3, 4, 5]
    assert torch.equal(codes[:, other], quantize(rows, torch.tensor(0.3), 7)[:, other]), "no correlation, no feedback"


def test_visits_come_in_order_and_leave_no_hook(images: Tensor) -> None:
    model = trained()
    seen: list[str] = []
    visit_outputs(model, images[:2], lambda name, layer, output: seen.append(name))
    assert seen == list(quant_layers(model))
    model(images[:2])
    assert len(seen) == 8


def test_a_layer_without_a_bias_leaves_the_shift_to_its_batch_norm(images: Tensor) -> None:
    model, with_bias = trained(), trained()
    target = output_means(model, images)
    for one in (model, with_bias):
        one.layers.conv3.weight.data *= 1.5
    model.layers.conv3.bias = None
    with_bias.layers.conv3.bias.data.zero_()
    correct_biases(model, images, target)
    correct_biases(with_bias, images, target)
    assert torch.allclose(model(images), with_bias(images), atol=1e-4)


def test_a_layer_with_nowhere_to_put_a_shift_is_named(images: Tensor) -> None:
    model = trained()
    target = output_means(model, images)
    model.layers.fc2.bias = None
    with pytest.raises(ReproError, match=r"layers\.fc2 has no bias and no batch norm behind it"):
        correct_biases(model, images, target)


def test_a_root_is_a_root() -> None:
    a = laplace_clip(16)
    assert a / (3 * 256) == pytest.approx(math.exp(-a))


def test_methods_touch_only_what_they_say(images: Tensor) -> None:
    """All but CLE leave the latent weights; all but CLE and ACIQ the biases; nobody the inputs."""
    before, given = copy.deepcopy(trained().state_dict()), images.clone()
    for name in PTQ_METHODS:
        after = quantized(name, images).state_dict()
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        assert torch.equal(images, given)
        if name == "aciq":
            assert changed == {f"{layer}.bias" for layer in quant_layers(trained())}
        elif name == "cle":
            assert {"layers.conv1.weight", "layers.bn1.weight", "layers.bn1.running_var"} <= changed
        else:
            assert changed == set()
