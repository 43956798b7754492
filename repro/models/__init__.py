"""Models made of ``repro.quant``'s layers."""

from repro.models.vgg import VGG

__all__ = ["VGG"]
