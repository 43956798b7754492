"""What the models share: a chain of layers as a classifier, and its first weights."""

import math
from collections import OrderedDict

from torch import Tensor, nn

from repro.models.chain import Chain
from repro.quant.sequence import Stage, chain_sequence


class ChainModel(nn.Module):
    """A classifier that is one chain of layers; a model says which."""

    def __init__(self, layers: "OrderedDict[str, nn.Module]") -> None:
        """Take ``layers`` in their order, and draw their weights anew."""
        super().__init__()
        self.layers = Chain(layers)
        initialize(self)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [N, C, H, W] to logits [N, classes]."""
        logits: Tensor = self.layers(images)
        return logits

    def sequence(self, prefix: str = "") -> list[Stage]:
        """See ``repro.quant.sequence``."""
        return chain_sequence(self.layers, f"{prefix}layers.")


def initialize(model: nn.Module) -> None:
    """Normal weights, std sqrt(2 / fan_in) in convolutions and sqrt(1 / fan_in) in linear layers; biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=math.sqrt(2 / module.weight[0].numel()))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=math.sqrt(1 / module.in_features))
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
