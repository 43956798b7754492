"""Bias correction beside every method: the rectified mean, what is known analytically, and what it leaves."""

import copy

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

from repro.config.registry import MODELS, PTQ_METHODS
from repro.errors import ReproError
from repro.ptq import quantize_model
from repro.ptq.bias import expected_inputs, rectified_mean
from repro.ptq.calibration import output_means, visit_inputs
from repro.quant import QuantLinear, quant_layers
from repro.quant.sequence import model_sequence
from tests.conftest import example_options
from tests.models.contract import build, make_images

METHODS = [name for name, method in PTQ_METHODS.items() if not method.corrects_biases]


def quantize(model: nn.Module, name: str, images: Tensor | None, correction: str, bits: int = 4) -> nn.Module:
    options = {**example_options(PTQ_METHODS[name].options), "bit_width": bits}
    quantize_model(model, name, images, bias_correction=correction, **options)
    return model


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.7, 0.4), (-0.9, 0.5), (-0.2, -1.3), (3.0, 0.1)])
def test_the_rectified_mean_is_the_integral(mean: float, deviation: float) -> None:
    """Equation 19 against numerical integration; a deviation's sign means nothing."""
    density = stats.norm(mean, abs(deviation)).pdf
    expected, _ = integrate.quad(lambda x: x * density(x), 0, mean + 12 * abs(deviation), points=[max(mean, 0)])
    assert rectified_mean(torch.tensor(mean), torch.tensor(deviation)).item() == pytest.approx(expected, rel=1e-5)


def test_the_rectified_mean_of_a_constant_is_its_positive_part() -> None:
    means = torch.tensor([-1.0, 0.0, 2.0])
    assert rectified_mean(means, torch.zeros(3)).tolist() == pytest.approx([0.0, 0.0, 2.0], abs=1e-30)


def test_which_layers_know_their_inputs() -> None:
    """Behind a batch norm and a ReLU alone: no pooling, no sum with a shortcut, no token."""
    known = {name: [key.removeprefix("layers.") for key in expected_inputs(build(name))] for name in MODELS}
    assert known == {
        "vgg": ["conv2", "conv4", "conv6", "fc2"],
        "resnet20": [f"block{stage}_{block}.conv2" for stage in (1, 2, 3) for block in (1, 2, 3)],
        "vgg_small": ["conv2", "conv4", "conv6"],
        "vit_tiny": [],
    }


def test_expected_inputs_are_those_that_come() -> None:
    """Where batch norm's statistics are those of the images; the convolutions' borders are the inputs' own here."""
    model, images = build("vgg"), make_images(count=256)
    for norm in [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]:
        norm.momentum = None  # averages over all batches
        norm.reset_running_stats()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        model.train()(images)
    expected, names = expected_inputs(model.eval()), {id(layer): key for key, layer in quant_layers(model).items()}
    found: dict[str, Tensor] = {}
    visit_inputs(model, images, lambda layer, x: found.update({names[id(layer)]: x.transpose(0, 1).flatten(1).mean(1)}))
    for name, means in expected.items():
        assert (found[name] - means).norm() < 0.1 * means.norm()


def test_analytic_by_hand() -> None:
    """y = W relu(norm(z)): the mean output moves by (Q(W) - W) E[relu], which the bias takes back."""
    torch.manual_seed(0)
    net = nn.Sequential(QuantLinear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), QuantLinear(6, 3)).eval()
    nn.init.normal_(net[1].weight)
    nn.init.normal_(net[1].bias)
    before, images = copy.deepcopy(net[3]), torch.randn(50, 5)
    quantize(net, "absmax", images, "analytic", bits=2)
    change = net[3].weight_quantizer(net[3].weight) - before.weight
    shift = change @ rectified_mean(net[1].bias, net[1].weight)
    assert torch.allclose(net[3].bias, before.bias - shift, atol=1e-6)


@torch.no_grad()
def means_behind(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Mean outputs; of a layer without a bias less the mean that its batch norm takes off."""
    means = output_means(model, images)
    for stage in model_sequence(model):
        if stage.layer.bias is None:
            means[stage.name] = means[stage.name] - stage.norm.running_mean
    return means


def mean_errors(model: str, name: str, correction: str) -> dict[str, float]:
    """How far each layer's mean output is off after quantisation, over the largest mean of any layer."""
    images = make_images(count=64)
    wanted, found = (
        means_behind(net, images) for net in (build(model), quantize(build(model), name, images, correction))
    )
    size = max(float(mean.norm()) for mean in wanted.values())
    return {key: float((found[key] - mean).norm()) / size for key, mean in wanted.items()}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_after_every_method_on_every_model_the_means_are_right_where_no_formula_is(model: str, name: str) -> None:
    known, errors = expected_inputs(build(model)), mean_errors(model, name, "analytic")
    assert max(error for key, error in errors.items() if key not in known) < 1e-3
    assert max(errors.values()) < 0.5


@pytest.mark.parametrize("model", MODELS)
def test_only_the_empirical_correction_leaves_no_error_anywhere(model: str) -> None:
    assert max(mean_errors(model, "absmax", "empirical").values()) < 1e-3
    assert max(mean_errors(model, "absmax", "own").values()) > 1e-2


@pytest.mark.parametrize("correction", ["analytic", "empirical"])
def test_without_images_it_is_refused(correction: str) -> None:
    with pytest.raises(ReproError, match=f"bias_correction: {correction} needs calibration images"):
        quantize(build("vgg"), "absmax", None, correction)
