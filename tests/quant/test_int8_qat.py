"""8-bit QAT against PyTorch's own fake quantisation, by hand, and through the trainer."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from repro.config import Run
from repro.config.registry import QUANTIZERS
from repro.errors import ReproError
from repro.models import VGG
from repro.quant import (
    attach_activation_quantizers,
    attach_quantizers,
    count_levels,
    effective_weight,
    mean_scale,
    quant_layers,
)
from repro.quant.int8_qat import Int8QatQuantizer, MovingRangeQuantizer
from repro.records import read_csv_rows
from repro.train import Interrupted, Settings, train_run
from repro.train.checkpoint import WEIGHTS_NAME
from tests.conftest import example_options

MakeRun = Callable[..., Run]


def plain() -> VGG:
    torch.manual_seed(0)
    return VGG(classes=10, width=0.125, dropout=0.5)


def lived_in(steps: int = 3) -> tuple[VGG, VGG]:
    """A model with int8_qat whose batch norm is not at its initial values, and the same without quantisers."""
    model = plain()
    attach_quantizers(model, "int8_qat")
    torch.manual_seed(1)
    for norm in batch_norms(model):
        nn.init.uniform_(norm.weight, 0.2, 2.0)
        norm.weight.data[::3] *= -1
        nn.init.normal_(norm.bias)
    model.train()
    for _ in range(steps):
        model(torch.randn(16, 3, 32, 32))
    reference = plain()
    reference.load_state_dict({k: v for k, v in model.state_dict().items() if "quantizer" not in k})
    return model.eval(), reference.eval()


def batch_norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]


def seen(*batches: Tensor) -> MovingRangeQuantizer:
    quantizer = MovingRangeQuantizer().train()
    for batch in batches:
        quantizer(batch)
    return quantizer.eval()


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (10, 32)])
def test_weights_agree_with_pytorch(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape) * torch.logspace(-3, 1, shape[0]).view(-1, *[1] * (len(shape) - 1))
    quantizer = Int8QatQuantizer(weight)
    scale = weight.flatten(1).abs().amax(1) / 127
    expected = torch.fake_quantize_per_channel_affine(weight, scale, torch.zeros_like(scale).int(), 0, -127, 127)
    torch.testing.assert_close(quantizer(weight), expected, rtol=1e-6, atol=0)
    codes, scales = quantizer.codes(weight)
    assert codes.dtype == torch.int8
    assert codes.flatten(1).abs().amax(1).tolist() == [127] * shape[0]
    assert torch.equal(quantizer.dequantize(codes, scales), quantizer(weight))
    assert scales.shape == (shape[0], *[1] * (len(shape) - 1))


@pytest.mark.parametrize("kind", ["images", "after ReLU"])
def test_activations_and_their_gradient_agree_with_pytorch(kind: str) -> None:
    """On values that lie on no rounding boundary, where both may go either way; also outside the range."""
    torch.manual_seed(0)
    values = torch.randn(64, 100) * 2 + 0.3
    values = values.relu() if kind == "after ReLU" else values
    quantizer = seen(values)
    scale, zero_point = quantizer.scale_and_zero_point()
    assert zero_point == 0 if kind == "after ReLU" else 50 < zero_point < 200
    wider = values * 1.5
    steps = wider / scale
    inputs = wider[(steps - steps.floor() - 0.5).abs() > 1e-3].requires_grad_()
    ours = quantizer(inputs)
    theirs = torch.fake_quantize_per_tensor_affine(inputs, scale, zero_point.int(), 0, 255)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    gradients = [torch.autograd.grad(result.sum(), inputs)[0] for result in (ours, theirs)]
    assert torch.equal(*gradients)
    assert (gradients[0] == 0).any(), "nothing lay outside the range"
    assert ours.unique().numel() > 200
    assert (quantizer(torch.randn(10**5) * 10).unique().numel()) <= 256


def test_zero_is_exact_and_the_range_always_holds_it() -> None:
    for batch in (torch.tensor([2.0, 3.0]), torch.tensor([-3.0, -2.0]), torch.tensor([-1.0, 2.3])):
        quantizer = seen(batch)
        assert quantizer(torch.zeros(1)).item() == 0
        worst = (quantizer(batch) - batch).abs().max()
        assert worst <= quantizer.scale_and_zero_point()[0]


def test_moving_range_by_hand() -> None:
    """The first batch sets it; each later one moves it by a hundredth of the way."""
    quantizer = MovingRangeQuantizer().train()
    for batch, low, high in [
        ([-1.0, 0.5, 2.0], -1.0, 2.0),
        ([-3.0, 0.0, 1.0], -1.02, 1.99),
        ([0.0, 5.0, 11.99], -1.0098, 2.09),
    ]:
        quantizer(torch.tensor(batch))
        assert quantizer.low.item() == pytest.approx(low, rel=1e-6)
        assert quantizer.high.item() == pytest.approx(high, rel=1e-6)
    quantizer.eval()(torch.tensor([-100.0, 100.0]))
    assert (quantizer.low.item(), quantizer.batches.item()) == (pytest.approx(-1.0098), 3)


def test_a_batch_is_quantised_with_the_moving_range_not_its_own() -> None:
    quantizer = MovingRangeQuantizer().train()
    quantizer(torch.tensor([0.0, 1.0]))
    assert quantizer(torch.tensor([0.0, 101.0])).max().item() == pytest.approx(2.0)


def test_folding_changes_nothing_where_quantisation_is_bypassed() -> None:
    model, reference = lived_in()
    images = torch.randn(8, 3, 32, 32)
    assert not torch.allclose(model(images), reference(images), atol=1e-3)
    for layer in quant_layers(model).values():
        layer.weight_quantizer.brevitas.int_quant.to_int = lambda scale, zero_point, bits, values: values / scale
        layer.input_quantizer.forward = lambda values: values
        assert torch.allclose(effective_weight(layer), layer.weight, rtol=1e-5)
    torch.testing.assert_close(model(images), reference(images), rtol=1e-5, atol=1e-5)


def test_evaluation_equals_a_network_with_integer_folded_weights_and_no_batch_norm() -> None:
    """What would be deployed: sign(gamma) codes, the folded scale, and the batch norm's shift in the bias."""
    model, _ = lived_in()
    images = torch.randn(8, 3, 32, 32)
    expected = model(images)
    children = dict(model.layers.named_children())
    for index in range(1, 8):
        norm = children[f"bn{index}"]
        layer = children[f"conv{index}" if index < 7 else "fc1"]
        codes, scale = layer.weight_quantizer.codes(layer.weight)
        factor = layer.weight_quantizer.folding_factor(layer.weight)
        sigma = torch.sqrt(norm.running_var + norm.eps)
        torch.testing.assert_close(factor.flatten(), norm.weight.abs() / sigma)
        sign = norm.weight.sign().view_as(factor)
        with torch.no_grad():
            layer.bias.copy_(norm.bias + (layer.bias - norm.running_mean) * norm.weight / sigma)
            layer.weight.copy_(sign * codes * (scale * factor))
        layer.weight_quantizer = None
        setattr(model.layers, f"bn{index}", nn.Identity())
    # an activation within rounding of a boundary may take the next code: a level, not a mistake
    torch.testing.assert_close(model(images), expected, rtol=0, atol=0.02 * expected.abs().max().item())
    assert (model(images) - expected).abs().median() < 1e-3


def test_the_codes_are_those_of_the_folded_weight() -> None:
    model, _ = lived_in()
    layer = quant_layers(model)["layers.conv2"]
    factor = layer.weight_quantizer.folding_factor(layer.weight)
    assert factor.min() < 0.9 * factor.max()
    codes, scale = layer.weight_quantizer.codes(layer.weight)
    folded = layer.weight.detach() * factor
    largest = folded.flatten(1).abs().amax(1).view_as(factor)
    assert torch.equal(codes, torch.round(folded / (largest / 127)).to(torch.int8))
    torch.testing.assert_close(scale * factor, largest / 127)


def test_a_dead_channel_divides_by_nothing() -> None:
    model, _ = lived_in()
    with torch.no_grad():
        batch_norms(model)[0].weight[0] = 0.0
        layer = quant_layers(model)["layers.conv1"]
        layer.weight[1] = 0.0
    model.train()
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert torch.isfinite(effective_weight(layer)).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_every_layer_takes_part_and_the_state_has_each_key_once() -> None:
    model, reference = lived_in()
    layers = quant_layers(model)
    own = {f"{name}.input_quantizer.{key}" for name in layers for key in ("low", "high", "batches")}
    assert set(model.state_dict()) == set(reference.state_dict()) | own
    assert [bool(layer.weight_quantizer._batch_norm) for layer in layers.values()] == [True] * 7 + [False]
    for layer in layers.values():
        assert 100 < count_levels(layer) <= layer.weight_quantizer.max_levels == 255
        assert mean_scale(layer) > 0


def test_evaluation_is_deterministic_and_freezes_the_ranges() -> None:
    model, _ = lived_in()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.randn(8, 3, 32, 32)
    assert torch.equal(model(images), model(images))
    torch.testing.assert_close(model(images)[:1], model(images[:1]), rtol=1e-3, atol=0.05)
    model(100 * images)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_quantisers_compute_in_fp32_under_bfloat16() -> None:
    model, _ = lived_in()
    layer = quant_layers(model)["layers.conv2"]
    values = torch.randn(2, 8, 4, 4).relu().bfloat16()
    weight, activations = effective_weight(layer), layer.input_quantizer(values.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(effective_weight(layer), weight)
        assert torch.equal(layer.input_quantizer(values), activations)
        assert layer(values).dtype == torch.bfloat16


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resumes_bit_for_bit(tmp_path: Path, tiny_run: MakeRun, precision: str) -> None:
    run = tiny_run("qat8_cifar10", epochs=2, batch_size=64, precision=precision)
    train_run(run, Settings(results=tmp_path / "whole"))
    steps = iter(range(1, 100))
    with pytest.raises(Interrupted):
        train_run(run, Settings(results=tmp_path / "parts", stop=lambda: next(steps) == 6))
    train_run(run, Settings(results=tmp_path / "parts"))
    whole, parts = (run.directory(tmp_path / name) for name in ("whole", "parts"))
    first, second = (torch.load(path / WEIGHTS_NAME, weights_only=True) for path in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert first["layers.fc2.input_quantizer.batches"].item() == 8
    assert read_csv_rows(whole / "layers.csv") == read_csv_rows(parts / "layers.csv")


def test_a_run_through_the_command_line(tmp_path: Path, project: Path) -> None:
    command = [sys.executable, "-m", "repro", "train", "qat8_cifar10", "--scale", "smoke", "--no-track"]
    result = subprocess.run([*command, "--results", tmp_path], cwd=project, capture_output=True, text=True, check=True)
    assert "record.json" in result.stdout
    (record,) = tmp_path.rglob("layers.csv")
    levels = [int(row["levels"]) for row in read_csv_rows(record)]
    assert min(levels) > 15  # at this width the first layer has 108 weights
    assert 200 < max(levels) <= 255


def test_without_brevitas_only_this_method_is_refused(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    others = (
        "import sys; sys.modules['brevitas'] = None\n"
        "import repro.train; from repro.models import VGG; from repro.quant import attach_quantizers\n"
        "attach_quantizers(VGG(10, width=0.0625, dropout=0.5), 'absmax', bit_width=4); print('trains')"
    )
    result = subprocess.run([sys.executable, "-c", others], cwd=project, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "trains"
    monkeypatch.setitem(sys.modules, "brevitas.quant", None)
    with pytest.raises(ReproError, match="int8_qat needs Brevitas"):
        attach_quantizers(plain(), "int8_qat")


def test_another_quantiser_of_inputs_is_refused() -> None:
    """It would replace the 8-bit inputs that are half of the method."""
    model = plain()
    attach_quantizers(model, "int8_qat")
    with pytest.raises(ReproError, match="quantises the layers' inputs itself"):
        attach_activation_quantizers(model, "dorefa", bit_width=4)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_registry_says_which_method_quantises_inputs(name: str) -> None:
    model = plain()
    attach_quantizers(model, name, **example_options(QUANTIZERS[name].options))
    found = {layer.input_quantizer and layer.input_quantizer.bit_width for layer in quant_layers(model).values()}
    assert found == {QUANTIZERS[name].input_bits}
