"""Input quantisers: the contract, their papers' gradients by hand, and where they are attached."""

import copy
import math

import pytest
import torch

from repro.config.options import Method
from repro.config.registry import ACTIVATION_QUANTIZERS, BITS
from repro.models import VGG
from repro.quant import ActivationQuantizer, attach_activation_quantizers, quant_layers
from repro.quant.activations import DorefaActivations, LsqActivations, PactActivations
from tests.conftest import example_options
from tests.quant.contract import check_activation_quantizer


def build(name: str, only: str = "all") -> torch.nn.Module:
    torch.manual_seed(0)
    model = VGG(classes=10, width=0.125, dropout=0.5)
    attach_activation_quantizers(model, name, only=only, **example_options(ACTIVATION_QUANTIZERS[name].options))
    return model


@pytest.mark.parametrize("name", ACTIVATION_QUANTIZERS)
def test_contract(name: str) -> None:
    check_activation_quantizer(name)


class OneLevelTooMany(DorefaActivations):
    """Returns 17 levels where it declares 16."""

    def __init__(self, bit_width: int) -> None:
        super().__init__(bit_width)
        self.quant_max += 1


def test_contract_catches_a_level_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATION_QUANTIZERS, "bad", Method(OneLevelTooMany, bit_width=BITS))
    with pytest.raises(pytest.fail.Exception, match="levels, declared 4"):
        check_activation_quantizer("bad")


@pytest.mark.parametrize("name", ACTIVATION_QUANTIZERS)
@pytest.mark.parametrize(("only", "places"), [("all", range(1, 8)), ("inner", range(1, 7))])
def test_every_chosen_layer_but_the_first_has_one(name: str, only: str, places: range) -> None:
    model = build(name, only)
    layers = list(quant_layers(model).values())
    assert [i for i, layer in enumerate(layers) if layer.input_quantizer is not None] == list(places)
    seen: dict[int, torch.Tensor] = {}
    for place, layer in enumerate(layers):
        if layer.input_quantizer is not None:
            layer.input_quantizer.register_forward_hook(lambda _, x, y, place=place: seen.update({place: y}))
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert set(seen) == set(places)
    assert all(1 < len(values.unique()) <= 16 for values in seen.values())
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_dorefa_by_hand() -> None:
    """Zhou 2016, equation 11 with k = 2: clamp to [0, 1], thirds; the gradient passes inside."""
    inputs = torch.tensor([-0.5, 0.0, 0.1, 0.2, 0.6, 0.9, 3.0], requires_grad=True)
    result = DorefaActivations(2)(inputs)
    assert result.tolist() == pytest.approx([0, 0, 0, 1 / 3, 2 / 3, 1, 1])
    result.backward(torch.arange(1.0, 8.0))
    assert inputs.grad.tolist() == [0, 2, 3, 4, 5, 6, 0]


def test_pact_by_hand() -> None:
    """Choi 2018, equations 1 to 3: y = clip(x, 0, a) on a / 3, and dy / da = 1 where x >= a, else 0."""
    quantizer = PactActivations(2, initial_clip=1.5)
    inputs = torch.tensor([-1.0, 0.2, 0.3, 1.2, 1.5, 4.0], requires_grad=True)
    result = quantizer(inputs)
    assert result.tolist() == [0, 0, 0.5, 1, 1.5, 1.5]
    result.backward(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    assert inputs.grad.tolist() == [0, 2, 4, 8, 0, 0]
    assert quantizer.clip.grad.item() == 48


def test_lsq_starts_from_the_first_training_batch_alone() -> None:
    quantizer = LsqActivations(4)
    quantizer.eval()(torch.full((2, 5), 9.0))
    assert quantizer.step.item() == 1
    quantizer.train()(torch.full((2, 5), 3.0))
    assert quantizer.step.item() == pytest.approx(2 * 3 / math.sqrt(15))
    quantizer(torch.full((2, 5), 100.0))
    assert quantizer.step.item() == pytest.approx(2 * 3 / math.sqrt(15))
    fresh = LsqActivations(4)
    fresh.load_state_dict(quantizer.state_dict())
    fresh.train()(torch.full((2, 5), 100.0))
    assert torch.equal(fresh.step, quantizer.step), "what was started before the state was saved stays started"


def test_lsq_gradients_by_hand() -> None:
    """Esser 2020, equations 3 and 5 with Q_N = 0, Q_P = 3; N is the two features of one image."""
    quantizer = LsqActivations(2)
    quantizer.started.fill_(True)
    inputs = torch.tensor([[-1.0, 0.0], [1.3, 2.6], [2.9, 7.0]], requires_grad=True)
    result = quantizer(inputs)
    assert result.tolist() == [[0, 0], [1, 3], [3, 3]]
    result.sum().backward()
    assert inputs.grad.tolist() == [[0, 0], [1, 1], [1, 0]]
    expected = ((1 - 1.3) + (3 - 2.6) + (3 - 2.9) + 3) / math.sqrt(2 * 3)
    assert quantizer.step.grad.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ACTIVATION_QUANTIZERS)
def test_bfloat16_is_the_fp32_result_rounded_once(name: str) -> None:
    quantizer: ActivationQuantizer = ACTIVATION_QUANTIZERS[name](**example_options(ACTIVATION_QUANTIZERS[name].options))
    inputs = torch.rand(64, 32).bfloat16() * 2
    twin = copy.deepcopy(quantizer)
    assert torch.equal(quantizer(inputs), twin(inputs.float()).bfloat16())
