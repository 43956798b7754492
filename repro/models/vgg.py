"""The paper's VGG (section III-E)."""

from collections import OrderedDict

from torch import nn

from repro.models.base import ChainModel
from repro.models.dropout import Dropout
from repro.quant import QuantConv2d, QuantLinear

BLOCK_CHANNELS = (64, 128, 256)
HIDDEN_FEATURES = 512


class VGG(ChainModel):
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
        super().__init__(layers)
