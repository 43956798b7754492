"""What every registered model promises, as one check that raises; it takes over new models by itself."""

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from repro.config.registry import MODELS, QUANTIZERS
from repro.data.types import Shape
from repro.ptq.equalization import fold_batch_norms
from repro.quant import QuantConv2d, QuantLinear, attach_quantizers, quant_layers
from repro.quant.sequence import BatchNorm, Stage, model_sequence
from repro.train.measure import short_name
from tests.conftest import example_options

SHAPES = ((3, 32, 32), (1, 13, 10))
CLASSES = 7


def build(name: str, image_shape: Shape = SHAPES[0], classes: int = CLASSES) -> nn.Module:
    """A narrow one, with random weights and batch norm statistics, in evaluation mode."""
    options = {**example_options(MODELS[name].options), "width": 0.25, "dropout": 0.5}
    torch.manual_seed(0)
    model: nn.Module = MODELS[name](classes, image_shape, **{k: options[k] for k in MODELS[name].options})
    for norm in [module for module in model.modules() if isinstance(module, BatchNorm)]:
        for positive in (norm.weight, norm.running_var):
            nn.init.uniform_(positive, 0.5, 2.0)
        for centred in (norm.bias, norm.running_mean):
            nn.init.normal_(centred, std=0.3)
    return model.to(memory_format=torch.channels_last).eval()


def make_images(image_shape: Shape = SHAPES[0], count: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *image_shape, generator=generator).to(memory_format=torch.channels_last)


def ensure(condition: bool, message: str) -> None:
    """Fail with a message that names the promise."""
    if not condition:
        pytest.fail(message)


def check_model(name: str) -> None:
    """All promises of a model that need no quantiser."""
    for shape in SHAPES:
        try:
            logits = build(name, shape)(make_images(shape))
        except RuntimeError as error:
            pytest.fail(f"{name} does not take images of {shape}: {error}")
        ensure(tuple(logits.shape) == (6, CLASSES), f"{name}: logits {tuple(logits.shape)} for {CLASSES} classes")
    model = build(name)
    _check_layers(name, model)
    _check_norms(name, model)
    _check_next(name, model)


def _check_layers(name: str, model: nn.Module) -> None:
    plain = [key for key, m in model.named_modules() if type(m) in (nn.Conv2d, nn.Linear)]
    ensure(not plain, f"{name}: {', '.join(plain)} can take no quantiser")
    layers = list(quant_layers(model))
    ensure(len({short_name(layer) for layer in layers}) == len(layers), f"{name}: two layers share a name in records")
    order: list[str] = []
    handles = [
        layer.register_forward_hook(lambda *_, key=key: order.append(key)) for key, layer in quant_layers(model).items()
    ]
    model(make_images())
    for handle in handles:
        handle.remove()
    ensure(order == layers, f"{name}: layers are not registered in the order of the forward pass")
    ensure(
        [stage.name for stage in model_sequence(model)] == layers, f"{name}: the sequence has other layers, or names"
    )


def _check_norms(name: str, model: nn.Module) -> None:
    """Each batch norm whose input is a layer's output is declared with that layer, and no other is."""
    outputs: dict[int, nn.Module] = {}
    behind: dict[nn.Module, nn.Module] = {}
    kept: list[Tensor] = []

    def after_layer(module: nn.Module, _: object, output: Tensor) -> None:
        kept.append(output)  # or its number would be given again
        outputs[id(output)] = module

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in outputs:
            behind[outputs[id(inputs[0])]] = module

    for module in model.modules():
        if isinstance(module, QuantConv2d | QuantLinear):
            module.register_forward_hook(after_layer)
        elif isinstance(module, BatchNorm):
            module.register_forward_pre_hook(before_norm)
    model(make_images())
    declared = {stage.layer: stage.norm for stage in model_sequence(model) if stage.norm is not None}
    ensure(declared == behind, f"{name}: the declared batch norms are not those behind the layers")


def _check_next(name: str, model: nn.Module) -> None:
    """A factor that leaves a layer, its norm folded, and enters its next layers leaves the logits."""
    images = make_images()
    folded = copy.deepcopy(build(name))
    before = folded(images)
    fold_batch_norms(folded)
    ensure(
        torch.allclose(folded(images), before, rtol=1e-3, atol=1e-4), f"{name}: folding batch norms moves the logits"
    )
    stages = model_sequence(folded)
    ensure(any(stage.next for stage in stages), f"{name}: no layer feeds another one alone")
    generator = torch.Generator().manual_seed(0)
    for stage in stages:
        if stage.next:
            _scale_channels(stage, 0.5 + 1.5 * torch.rand(len(stage.layer.weight), generator=generator))
    ensure(torch.allclose(folded(images), before, rtol=1e-2, atol=1e-3), f"{name}: a next layer is none")


@torch.no_grad()
def _scale_channels(stage: Stage, factor: Tensor) -> None:
    stage.layer.weight.mul_(factor.reshape(-1, *[1] * (stage.layer.weight.dim() - 1)))
    for shift in (stage.layer.bias, None if stage.norm is None else stage.norm.bias):
        if shift is not None:
            shift.mul_(factor)
    for layer in stage.next:
        weight = layer.weight.reshape(len(layer.weight), len(factor), -1) / factor.reshape(1, -1, 1)
        layer.weight.copy_(weight.reshape(layer.weight.shape))


def check_training(name: str, quantizer: str, precision: str) -> None:
    """Loss and every gradient are numbers, and the step moves every parameter's layer."""
    model = build(name).train()
    options: Mapping[str, object] = {} if quantizer == "none" else example_options(QUANTIZERS[quantizer].options)
    attach_quantizers(model, quantizer, **options)
    where = f"{name}, {quantizer}, {precision}"
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        logits = model(make_images())
    ensure(logits.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32), f"{where}: {logits.dtype}")
    loss = nn.functional.cross_entropy(logits.float(), torch.arange(6))
    loss.backward()
    ensure(bool(torch.isfinite(loss)), f"{where}: the loss is no number")
    missing = [key for key, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    ensure(not missing, f"{where}: no gradient, or none that is a number, at {', '.join(missing)}")
    dead = [key for key, layer in quant_layers(model).items() if not layer.weight.grad.count_nonzero()]
    ensure(not dead, f"{where}: nothing reaches {', '.join(dead)}")
