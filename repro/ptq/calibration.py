"""What PTQ measures on calibration images: inputs of layers, and means of their outputs."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from repro.errors import ReproError
from repro.quant import QuantConv2d, QuantLayer, quant_layers
from repro.quant.sequence import model_sequence

CALIBRATION_IMAGES = 1024

OutputHook = Callable[[str, QuantLayer, Tensor], Tensor | None]


def require_images(images: Tensor | None, method: str) -> Tensor:
    """``images``, or an error that says which method needs them."""
    if images is None or len(images) == 0:
        raise ReproError(f"PTQ method {method} needs calibration images, and got none")
    return images


@torch.no_grad()
def visit_inputs(model: nn.Module, images: Tensor, visit: Callable[[QuantLayer, Tensor], None]) -> None:
    """Call ``visit(layer, input)`` at each quantisable layer of one forward pass, before the layer computes.

    What ``visit`` changes in a layer is in the inputs of all later ones.
    """

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        visit(layer, inputs[0])  # type: ignore[arg-type]

    handles = [layer.register_forward_pre_hook(hook) for layer in quant_layers(model).values()]
    _forward(model, images, handles)


@torch.no_grad()
def visit_outputs(model: nn.Module, images: Tensor, visit: OutputHook) -> None:
    """Call ``visit(name, layer, output)`` at each quantisable layer of one forward pass; what it gives goes on."""

    def make_hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        return lambda layer, inputs, output: visit(name, layer, output)  # type: ignore[arg-type]

    handles = [layer.register_forward_hook(make_hook(name)) for name, layer in quant_layers(model).items()]
    _forward(model, images, handles)


def _forward(model: nn.Module, images: Tensor, handles: list[torch.utils.hooks.RemovableHandle]) -> None:
    training = model.training
    model.eval()
    try:
        model(images)  # one batch: sums over the whole set are known where the next layer needs them
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)


def channel_means(output: Tensor, channels: int = 1) -> Tensor:
    """Mean of a layer's output over all but its channels, [C]; ``channels`` is their dimension."""
    return output.movedim(channels, 0).flatten(1).mean(dim=1)


def channel_dim(layer: QuantLayer) -> int:
    """Where the channels of a layer's output are: [N, C, H, W] of a convolution, [..., F] of a linear layer."""
    return 1 if isinstance(layer, QuantConv2d) else -1


def output_means(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Mean output of each quantisable layer, by channel, before batch norm and activation."""
    means: dict[str, Tensor] = {}
    visit_outputs(
        model, images, lambda name, layer, output: means.update({name: channel_means(output, channel_dim(layer))})
    )
    return means


def correct_biases(
    model: nn.Module, images: Tensor, target: Mapping[str, Tensor], known: Mapping[str, Tensor] = MappingProxyType({})
) -> None:
    """Shift biases until each layer's mean output is that of the FP32 model (Nagel 2019, appendix D).

    The empirical form, on calibration images instead of batch norm's statistics: b += E[y] - E[y~], layer by
    layer, each with the inputs that the corrected layers before it give; one forward pass does them all. Where a layer
    has no bias, the batch norm behind it takes the shift off its mean: the same function.

    Args:
        model: Quantised; its biases change.
        images: Calibration images [N, C, H, W].
        target: ``output_means`` of the same model before it was quantised.
        known: Shifts [C] of layers, by name, that are applied as they are, without a look at the layers' outputs.

    Raises:
        ReproError: If a layer has neither a bias nor a batch norm behind it.
    """
    homes = _shift_homes(model)

    def correct(name: str, layer: QuantLayer, output: Tensor) -> Tensor | None:
        channels = channel_dim(layer)
        error = known[name] if name in known else target[name] - channel_means(output, channels)
        if layer.bias is None:
            homes[name].sub_(error)
            return None  # the batch norm adds it
        layer.bias += error
        return output + (error if channels == -1 else error.reshape(-1, 1, 1))

    visit_outputs(model, images, correct)


def _shift_homes(model: nn.Module) -> dict[str, Tensor]:
    """The running mean of the batch norm behind each layer that has no bias, by the layer's name."""
    without = [name for name, layer in quant_layers(model).items() if layer.bias is None]
    norms = {stage.name: stage.norm for stage in model_sequence(model)} if without else {}
    homes = {name: norm.running_mean for name in without if (norm := norms[name]) is not None}
    for name in without:
        if homes.get(name) is None:
            raise ReproError(f"layer {name} has no bias and no batch norm behind it: bias correction has nowhere to go")
    return homes  # type: ignore[return-value]
