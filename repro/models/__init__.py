"""Models, by name."""

from collections.abc import Callable

from torch import nn

from repro.models.vgg import VGG

# name -> factory(classes, **options); options in repro.config.schema.MODELS
MODELS: dict[str, Callable[..., nn.Module]] = {"vgg": VGG}

__all__ = ["MODELS", "VGG"]
