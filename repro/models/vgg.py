"""The paper's VGG (section III-E)."""

import math
from collections import OrderedDict

from torch import Tensor, nn

from repro.models.chain import Chain
from repro.models.dropout import Dropout
from repro.quant import QuantConv2d, QuantLinear
from repro.quant.sequence import Stage, chain_sequence

BLOCK_CHANNELS = (64, 128, 256)
HIDDEN_FEATURES = 512


class VGG(nn.Module):
    """Three blocks of two 3x3 convolutions, then two linear layers; 3,251,018 parameters for 10 classes.

    Layers are named conv1..conv6, fc1 and fc2, as in records and figures.
    """

    def __init__(
        self, classes: int, image_shape: tuple[int, int, int] = (3, 32, 32), *, width: float, dropout: float
    ) -> None:
        """Build with random initial weights.

        Args:
            classes: Number of classes K.
            image_shape: Channels, height and width of an image, at least 8 pixels each way.
            width: Factor on all channel counts; 1 is the paper's model, less is for small scales.
            dropout: Probability before the last layer; 0.5 in the paper.
        """
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, *sides = image_shape
        index = 0
        for block in BLOCK_CHANNELS:
            out = max(1, round(block * width))
            for place in (1, 2):
                index += 1
                layers[f"conv{index}"] = QuantConv2d(channels, out, kernel_size=3, padding=1)
                layers[f"bn{index}"] = nn.BatchNorm2d(out)
                if place == 2:
                    # max(relu(x)) = relu(max(x)), gradients included; pooling first leaves ReLU a quarter of the work
                    layers[f"pool{index}"] = nn.MaxPool2d(2)
                layers[f"relu{index}"] = nn.ReLU(inplace=True)
                channels = out
        hidden = max(1, round(HIDDEN_FEATURES * width))
        height, width_left = (pixels // 2 ** len(BLOCK_CHANNELS) for pixels in sides)
        layers["flatten"] = nn.Flatten()
        layers["fc1"] = QuantLinear(channels * height * width_left, hidden)
        layers["bn7"] = nn.BatchNorm1d(hidden)
        layers["relu7"] = nn.ReLU(inplace=True)
        layers["dropout"] = Dropout(dropout)
        layers["fc2"] = QuantLinear(hidden, classes)
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
