"""From a resolved experiment to its model and optimiser, as every part of the suite builds them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from repro.config.registry import DATASETS, MODELS, OPTIMIZERS
from repro.config.spec import Spec, split_options
from repro.data.types import Shape
from repro.optim import scale_hidden
from repro.quant import attach_activation_quantizers, attach_quantizers
from repro.train.start import put_weights


def build_model(
    spec: Spec, classes: int, image_shape: Shape | None = None, weights: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """The experiment's model with random weights (torch's default generator) or given ones, quantisers attached.

    Args:
        spec: The run's spec.
        classes: Number of classes K.
        image_shape: Channels, height and width of an image; by default those of the data set that the spec names.
        weights: State of the same model without quantisers, from which these then start; by default random weights.

    Raises:
        ReproError: If the weights are those of another model.
    """
    name, options = split_options(spec["model"])
    model: nn.Module = MODELS[name](classes, image_shape or DATASETS[spec["dataset"]["name"]].image_shape, **options)
    if weights is not None:
        put_weights(model, weights)
    layers = spec["quantized_layers"]
    name, options = split_options(spec["quantizer"])
    attach_quantizers(model, name, only=layers, **options)
    name, options = split_options(spec["activation_quantizer"])
    attach_activation_quantizers(model, name, only=layers, **options)
    return model


def build_optimizer(spec: Spec, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The experiment's optimiser over ``parameters``, which come in the order of the forward pass."""
    name, options = split_options(spec["optimizer"])
    base_width = options.pop("mup_base_width")
    optimizer: torch.optim.Optimizer = OPTIMIZERS[name](parameters, **options)
    if base_width is not None:
        exponent = OPTIMIZERS[name].width_exponent
        assert exponent is not None  # `load_config` has seen to it
        scale_hidden(optimizer, parameters, (spec["model"]["width"] / base_width) ** exponent)
    return optimizer
