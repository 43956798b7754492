"""From a resolved experiment to its model, as every part of the suite builds it."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from repro.config.registry import DATASETS, MODELS
from repro.data.types import Shape
from repro.quant import attach_activation_quantizers, attach_quantizers


def split_options(method: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A configured method as its name and its options."""
    return method["name"], {key: value for key, value in method.items() if key != "name"}


def build_model(spec: Mapping[str, Any], classes: int, image_shape: Shape | None = None) -> nn.Module:
    """The experiment's model with random weights (torch's default generator), quantisers attached.

    Args:
        spec: The resolved experiment, in the shape of ``repro.config.schema.SPEC``.
        classes: Number of classes K.
        image_shape: Channels, height and width of an image; by default those of the data set that the spec names.
    """
    name, options = split_options(spec["model"])
    model: nn.Module = MODELS[name](classes, image_shape or DATASETS[spec["dataset"]["name"]].image_shape, **options)
    layers = spec.get("quantized_layers", "all")  # records from before this key lack it, and the next
    name, options = split_options(spec["quantizer"])
    attach_quantizers(model, name, only=layers, **options)
    name, options = split_options(spec.get("activation_quantizer", {"name": "none"}))
    attach_activation_quantizers(model, name, only=layers, **options)
    return model
