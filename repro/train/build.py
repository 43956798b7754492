"""From a resolved experiment to its model, as every part of the suite builds it."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from repro.config.registry import MODELS
from repro.quant import attach_activation_quantizers, attach_quantizers


def split_options(method: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A configured method as its name and its options."""
    return method["name"], {key: value for key, value in method.items() if key != "name"}


def build_model(spec: Mapping[str, Any], classes: int) -> nn.Module:
    """The experiment's model with random weights (torch's default generator), quantisers attached.

    Args:
        spec: The resolved experiment, in the shape of ``repro.config.schema.SPEC``.
        classes: Number of classes K.
    """
    name, options = split_options(spec["model"])
    model: nn.Module = MODELS[name](classes, **options)
    layers = spec.get("quantized_layers", "all")  # records from before this key lack it, and the next
    name, options = split_options(spec["quantizer"])
    attach_quantizers(model, name, only=layers, **options)
    name, options = split_options(spec.get("activation_quantizer", {"name": "none"}))
    attach_activation_quantizers(model, name, only=layers, **options)
    return model
