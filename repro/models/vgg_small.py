"""VGG-small, on which LQ-Nets (Zhang et al. 2018) and others after it quote CIFAR-10."""

from collections import OrderedDict

from torch import nn

from repro.models.base import ChainModel
from repro.quant import QuantConv2d, QuantLinear

BLOCK_CHANNELS = (128, 256, 512)


class VGGSmall(ChainModel):
    """128-128-M-256-256-M-512-512-M and one linear layer; 4,660,106 parameters for 10 classes and 32x32 images.

    Layers are named conv1..conv6 and fc. No convolution has a bias: batch norm follows each.
    """

    def __init__(self, classes: int, image_shape: tuple[int, int, int] = (3, 32, 32), width: float = 1.0) -> None:
        """Build with random initial weights.

        Args:
            classes: Number of classes K.
            image_shape: Channels, height and width of an image, at least 8 pixels each way.
            width: Factor on all channel counts; 1 is the published model.
        """
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, *sides = image_shape
        index = 0
        for block in BLOCK_CHANNELS:
            out = max(1, round(block * width))
            for place in (1, 2):
                index += 1
                layers[f"conv{index}"] = QuantConv2d(channels, out, kernel_size=3, padding=1, bias=False)
                layers[f"bn{index}"] = nn.BatchNorm2d(out)
                if place == 2:
                    layers[f"pool{index}"] = nn.MaxPool2d(2)  # before ReLU, as in repro.models.vgg
                layers[f"relu{index}"] = nn.ReLU(inplace=True)
                channels = out
        height, width_left = (pixels // 2 ** len(BLOCK_CHANNELS) for pixels in sides)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = QuantLinear(channels * height * width_left, classes)
        super().__init__(layers)
