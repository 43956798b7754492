"""Every model against the contract, with models that break it; and what the two published ones are known by."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from repro.config.options import Method
from repro.config.registry import MODELS, QUANTIZERS
from repro.errors import ReproError
from repro.models import ResNet20, VGGSmall
from repro.models.resnet import Residual
from repro.quant import QuantConv2d, QuantLinear, quant_layers
from repro.quant.sequence import Stage, model_sequence
from tests.models.contract import check_model, check_training


@pytest.mark.parametrize("name", MODELS)
def test_contract(name: str) -> None:
    check_model(name)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("quantizer", [*QUANTIZERS, "none"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_with_every_quantiser(name: str, quantizer: str, precision: str) -> None:
    check_training(name, quantizer, precision)


class Tiny(nn.Sequential):
    """Keeps the contract; the mutants below each break one promise of it."""

    def __init__(self, classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(
            OrderedDict(
                conv1=QuantConv2d(image_shape[0], 8, 3, padding=1),
                bn1=nn.BatchNorm2d(8),
                relu1=nn.ReLU(),
                conv2=QuantConv2d(8, 8, 3, padding=1),
                bn2=nn.BatchNorm2d(8),
                relu2=nn.ReLU(),
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                fc=QuantLinear(8, classes),
            )
        )


class OnlyRgb(Tiny):
    def __init__(self, classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(classes, (3, 32, 32))


class PlainLayer(Tiny):
    def __init__(self, classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(classes, image_shape)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)


class HiddenNorm(Tiny):
    def sequence(self, prefix: str = "") -> list[Stage]:
        stages = _chain_of(self)
        stages[0].norm = None
        return stages


class NormOfAnother(Tiny):
    def sequence(self, prefix: str = "") -> list[Stage]:
        stages = _chain_of(self)
        stages[0].norm, stages[1].norm = stages[1].norm, stages[0].norm
        return stages


class UnseenShortcut(Tiny):
    """Its second layer gets the image's features too, and its sequence does not say so."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu1(self.bn1(self.conv1(images)))
        rest = self.relu2(self.bn2(self.conv2(features))) + features
        return self.fc(self.flatten(self.pool(rest)))


class LayerLeftOut(Tiny):
    def sequence(self, prefix: str = "") -> list[Stage]:
        return _chain_of(self)[1:]


def _chain_of(model: nn.Sequential) -> list[Stage]:
    return model_sequence(nn.Sequential(OrderedDict(model.named_children())))


@pytest.mark.parametrize(
    ("bad", "broken"),
    [
        (OnlyRgb, "does not take images of"),
        (PlainLayer, "can take no quantiser"),
        (HiddenNorm, "batch norms are not those behind"),
        (NormOfAnother, "batch norms are not those behind"),
        (UnseenShortcut, "a next layer is none"),
    ],
)
def test_contract_catches(bad: type, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", Method(Tiny))
    check_model("tiny")
    monkeypatch.setitem(MODELS, "bad", Method(bad))
    with pytest.raises(pytest.fail.Exception, match=broken):
        check_model("bad")


def test_a_model_that_declares_nothing_or_too_little_is_refused() -> None:
    class Opaque(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = QuantLinear(4, 2)

    with pytest.raises(ReproError, match="Opaque declares no sequence"):
        model_sequence(Opaque())
    with pytest.raises(ReproError, match="lacks conv1"):
        model_sequence(LayerLeftOut(2, (3, 8, 8)))
    with pytest.raises(ReproError, match=r"lacks 0\.fc"):
        model_sequence(nn.Sequential(Opaque()))


def test_resnet20_is_the_published_one() -> None:
    """0.27 M parameters (He et al. 2016, table 6), 20 layers with weights, maps of 32, 16 and 8."""
    model = ResNet20(10)
    assert sum(p.numel() for p in model.parameters()) == 269_722
    layers = quant_layers(model)
    assert len(layers) == 20
    assert list(layers)[:3] == ["layers.conv1", "layers.block1_1.conv1", "layers.block1_1.conv2"]
    assert [layer.weight.shape[0] for layer in layers.values()] == [16] * 7 + [32] * 6 + [64] * 6 + [10]
    sides = []
    model.layers.pool.register_forward_pre_hook(lambda _, inputs: sides.append(tuple(inputs[0].shape)))
    model(torch.randn(2, 3, 32, 32))
    assert sides == [(2, 64, 8, 8)]


def test_option_a_shortcut_by_hand() -> None:
    """Every second pixel, and as many channels of zeros on either side."""
    block = Residual(2, 4, stride=2)
    values = torch.arange(2 * 16.0).reshape(1, 2, 4, 4)
    kept = block.shortcut(values)
    assert torch.equal(kept[:, 1:3], values[:, :, ::2, ::2])
    assert kept[:, [0, 3]].count_nonzero() == 0
    nn.init.zeros_(block.bn2.weight)
    assert torch.equal(block(values), kept.relu())
    assert torch.equal(Residual(3, 3, 1).shortcut(values), values)


def test_only_within_a_block_does_a_layer_feed_one_alone() -> None:
    stages = {stage.name: stage for stage in ResNet20(10).sequence()}
    feeding = [name for name, stage in stages.items() if stage.next]
    assert feeding == [f"layers.block{s}_{b}.conv1" for s in (1, 2, 3) for b in (1, 2, 3)]
    assert all(stage.norm is not None for name, stage in stages.items() if not name.endswith("fc"))


def test_vgg_small_is_the_published_one() -> None:
    model = VGGSmall(10)
    assert sum(p.numel() for p in model.parameters()) == 4_660_106
    shapes = [tuple(layer.weight.shape[:2]) for layer in quant_layers(model).values()]
    assert shapes == [(128, 3), (128, 128), (256, 128), (256, 256), (512, 256), (512, 512), (10, 8192)]
