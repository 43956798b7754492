"""From a resolved experiment to its model, as every part of the suite builds it."""

from torch import nn

from repro.config.registry import DATASETS, MODELS
from repro.config.spec import Spec, split_options
from repro.data.types import Shape
from repro.quant import attach_activation_quantizers, attach_quantizers


def build_model(spec: Spec, classes: int, image_shape: Shape | None = None) -> nn.Module:
    """The experiment's model with random weights (torch's default generator), quantisers attached.

    Args:
        spec: The run's spec.
        classes: Number of classes K.
        image_shape: Channels, height and width of an image; by default those of the data set that the spec names.
    """
    name, options = split_options(spec["model"])
    model: nn.Module = MODELS[name](classes, image_shape or DATASETS[spec["dataset"]["name"]].image_shape, **options)
    layers = spec["quantized_layers"]
    name, options = split_options(spec["quantizer"])
    attach_quantizers(model, name, only=layers, **options)
    name, options = split_options(spec["activation_quantizer"])
    attach_activation_quantizers(model, name, only=layers, **options)
    return model
