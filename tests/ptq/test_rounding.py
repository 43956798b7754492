"""Learned roundings: against every rounding that there is, against the nearest one, and block by block."""

import pytest
import torch
from torch import Tensor, nn

from repro.errors import ReproError
from repro.ptq import quantize_model
from repro.ptq.adaround import SoftRounding
from repro.ptq.gptq import DAMPING, input_hessian, input_moment, round_with_feedback
from repro.ptq.reconstruction import blocks
from repro.ptq.rescomp import round_with_residuals
from repro.quant import QuantConv2d, QuantLinear, quant_layers
from tests.models.contract import build, make_images


def one_layer(inputs: int, outputs: int) -> tuple[nn.Sequential, Tensor]:
    """A linear layer whose inputs go together, so that the nearest rounding is not the best."""
    generator = torch.Generator().manual_seed(3)
    layer = QuantLinear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(0.1 * torch.randn(outputs, inputs, generator=generator))
    images = torch.randn(600, inputs // 4, generator=generator) @ torch.randn(inputs // 4, inputs, generator=generator)
    return nn.Sequential(layer), (images + 0.3 * torch.randn(600, inputs, generator=generator)).relu()


def test_adaround_is_better_than_the_best_of_many_random_roundings() -> None:
    """Table 1 of the paper: random roundings differ widely, and the best of them is better than the nearest."""
    net, images = one_layer(48, 4)
    layer, generator = net[0], torch.Generator().manual_seed(0)
    soft, weight, hessian = SoftRounding(layer.weight.detach(), 4), layer.weight.detach(), input_hessian(layer, images)

    def error(codes: Tensor) -> float:
        difference = codes.clamp(-7, 7) * soft.step - weight
        return float((difference @ hessian * difference).sum())

    ratio = weight / soft.step
    nearest = error(ratio.round())
    drawn = [soft.below + (torch.rand(weight.shape, generator=generator) < ratio - soft.below) for _ in range(500)]
    quantize_model(net, "adaround", images, bit_width=4, iterations=800)
    found = error(layer.weight_quantizer.codes(weight)[0].float())
    assert found < 0.6 * nearest
    assert found < 0.8 * min(map(error, drawn))


def foem_by_hand(rows: Tensor, scale: Tensor, hessian: Tensor, quant_max: int, beta: float) -> Tensor:
    """The first-order optimum column by column, with the inverse of what is left of the Hessian, in doubles."""
    rows, trained, codes = rows.double(), rows.double(), []
    hessian = hessian.double() + DAMPING * hessian.double().diagonal().mean() * torch.eye(len(hessian)).double()
    for column in range(rows.shape[1]):
        inverse = hessian[column:, column:].inverse()
        left, start = rows[:, column:].clone(), trained[:, column:]
        left[:, 0] -= beta * (left[:, 0] - start[:, 0])
        code = (left[:, 0] / scale).round().clamp(-quant_max, quant_max)
        error = (left[:, 0] - code * scale) - beta * (left[:, 0] - start[:, 0])
        left -= torch.outer(error / inverse[0, 0], inverse[0])
        rows = torch.cat([rows[:, :column], left], 1)
        codes.append(code)
    return torch.stack(codes, 1)


@pytest.mark.parametrize("beta", [0.0, 0.2, 0.7])
def test_foem_is_the_first_order_optimum_column_by_column(beta: float) -> None:
    net, images = one_layer(24, 20)
    weight, hessian = net[0].weight.detach(), input_hessian(net[0], images)
    scale = weight.abs().amax(1) / 3
    codes = round_with_feedback(weight, scale, hessian, 3, beta)
    assert torch.equal(codes.double(), foem_by_hand(weight, scale.double(), hessian, 3, beta))
    plain = round_with_feedback(weight, scale, hessian, 3)
    assert torch.equal(codes, plain) == (beta == 0)


def rescomp_by_hand(
    rows: Tensor, scale: Tensor, wanted: Tensor, given: Tensor, quant_max: int, shares: tuple[float, float]
) -> Tensor:
    """Each column's rounding error and residuals, made up for by least squares of the later ones, in doubles."""
    rows, trained, codes = rows.double(), rows.double(), []
    wanted, given = wanted.double().T / len(given) ** 0.5, given.double().T / len(given) ** 0.5
    hessian = given @ given.T
    hessian += DAMPING * hessian.diagonal().mean() * torch.eye(len(hessian)).double()
    for column in range(rows.shape[1]):
        value = rows[:, column].clone()
        code = (value / scale).round().clamp(-quant_max, quant_max)
        residual = shares[0] * torch.outer(value, wanted[column] - given[column])
        residual += shares[1] * torch.outer(trained[:, column] - value, wanted[column])
        later = slice(column + 1, None)
        inverse = hessian[column:, column:].inverse()
        move = torch.outer((code * scale - value) / inverse[0, 0], inverse[0, 1:])
        rows[:, later] += move + residual @ given[later].T @ hessian[later, later].inverse()
        codes.append(code)
    return torch.stack(codes, 1)


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.25, 0.0), (0.0, 0.25), (0.25, 0.25), (1.0, 0.5)])
def test_rescomp_is_the_least_squares_column_by_column(shares: tuple[float, float]) -> None:
    net, images = one_layer(24, 20)
    weight, generator = net[0].weight.detach(), torch.Generator().manual_seed(5)
    wanted = images @ (torch.eye(24) + 0.2 * torch.randn(24, 24, generator=generator))
    hessian, drift = input_hessian(net[0], images), input_moment(net[0], wanted - images, images)
    scale = weight.abs().amax(1) / 3
    codes = round_with_residuals(weight, scale, hessian, drift, 3, shares)
    assert torch.equal(codes.double(), rescomp_by_hand(weight, scale.double(), wanted, images, 3, shares))
    plain = round_with_feedback(weight, scale, hessian, 3)
    assert torch.equal(codes, plain) == (shares == (0.0, 0.0))


def test_rescomp_is_nearer_than_gptq_to_the_layer_on_its_own_inputs() -> None:
    """Inputs that the layers before have scaled and mixed: the whole first residual makes up for part of that."""
    net, images = one_layer(48, 30)
    weight, generator = net[0].weight.detach(), torch.Generator().manual_seed(5)
    given = images @ (torch.eye(48) + 0.05 * torch.randn(48, 48, generator=generator))
    hessian, drift = input_hessian(net[0], given), input_moment(net[0], images - given, given)
    scale = weight.abs().amax(1) / 7
    errors = []
    for shares in ((0.0, 0.0), (0.25, 0.25), (1.0, 0.25)):
        quantized = round_with_residuals(weight, scale, hessian, drift, 7, shares) * scale.unsqueeze(1)
        errors.append(float((given @ quantized.T - images @ weight.T).norm()))
    assert errors[1] < 0.95 * errors[0]
    assert errors[2] < 0.7 * errors[0]


@pytest.mark.parametrize("method", ["adaround", "brecq"])
def test_codes_are_those_below_or_above_and_few_steps_leave_the_nearest(method: str) -> None:
    small = (3, 16, 16)  # a quarter of the time
    images, moved = make_images(small, count=48), 0
    for iterations in (1, 150):
        net = build("vgg", small)
        quantize_model(net, method, images, bit_width=4, iterations=iterations)
        for layer in quant_layers(net).values():
            codes, scale = layer.weight_quantizer.codes(layer.weight)
            ratio = layer.weight / scale
            assert ((codes == ratio.floor().clamp(-7, 7)) | (codes == ratio.ceil().clamp(-7, 7))).all()
            changed = int((codes != ratio.round().clamp(-7, 7)).sum())
            assert iterations > 1 or changed <= 0.02 * codes.numel()
            moved += changed
    assert moved > 0


@pytest.mark.parametrize("method", ["adaround", "brecq"])
@pytest.mark.parametrize("model", ["vgg", "resnet20"])
def test_the_output_changes_less_than_by_the_nearest_rounding(method: str, model: str) -> None:
    images = make_images(count=48)
    with torch.no_grad():
        reference = build(model)(images)
    errors = []
    for iterations in (1, 200):
        net = build(model)
        quantize_model(net, method, images, bit_width=3, iterations=iterations)
        with torch.no_grad():
            errors.append(float((net(images) - reference).norm()))
    assert errors[1] < 0.95 * errors[0]


def test_blocks_end_at_poolings_and_are_a_networks_own() -> None:
    sizes = {
        name: [len(quant_layers(block)) for block in blocks(build(name))] for name in ("vgg", "resnet20", "vit_tiny")
    }
    assert sizes == {"vgg": [2, 2, 2, 2], "resnet20": [1, *[2] * 9, 1], "vit_tiny": [1, *[6] * 12, 1]}
    for name in sizes:
        model, images = build(name), make_images()
        with torch.no_grad():
            values = images
            for block in blocks(model):
                values = block(values)
            assert torch.allclose(values, model(images), atol=1e-5)


def test_a_model_that_is_no_row_has_no_blocks() -> None:
    class Opaque(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = QuantConv2d(3, 4, 1)

    with pytest.raises(ReproError, match="Opaque is no row of modules"):
        quantize_model(Opaque(), "brecq", make_images(), bit_width=4, iterations=1)
