"""From a resolved experiment to its model, as every part of the suite builds it."""

from torch import nn

from repro.config.registry import MODELS
from repro.config.spec import Spec, split_options
from repro.quant import attach_activation_quantizers, attach_quantizers


def build_model(spec: Spec, classes: int) -> nn.Module:
    """The experiment's model with random weights (torch's default generator), quantisers attached.

    Args:
        spec: The run's spec.
        classes: Number of classes K.
    """
    name, options = split_options(spec["model"])
    model: nn.Module = MODELS[name](classes, **options)
    layers = spec["quantized_layers"]
    name, options = split_options(spec["quantizer"])
    attach_quantizers(model, name, only=layers, **options)
    name, options = split_options(spec["activation_quantizer"])
    attach_activation_quantizers(model, name, only=layers, **options)
    return model
