"""Models made of ``repro.quant``'s layers."""

from repro.models.resnet import ResNet20
from repro.models.vgg import VGG
from repro.models.vgg_small import VGGSmall
from repro.models.vit import ViTTiny

__all__ = ["VGG", "ResNet20", "VGGSmall", "ViTTiny"]
