"""ResNet-20 in its form for CIFAR (He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from repro.models.base import ChainModel
from repro.models.chain import Chain
from repro.quant import QuantConv2d, QuantLinear
from repro.quant.sequence import Stage, chain_sequence

STAGE_CHANNELS = (16, 32, 64)
BLOCKS = 3  # a stage: 6 n + 2 = 20 layers
FEWEST = 2  # channels: of one, torch cannot tell the memory formats apart, and a file's logits lose their last bits


class Residual(Chain):
    """Two 3x3 convolutions with batch norm beside a shortcut; ReLU follows the sum. No convolution has a bias."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """From ``inputs`` to ``outputs`` channels, the first convolution with ``stride``."""
        super().__init__(
            OrderedDict(
                conv1=QuantConv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
                bn1=nn.BatchNorm2d(outputs),
                relu1=nn.ReLU(inplace=True),
                conv2=QuantConv2d(outputs, outputs, kernel_size=3, padding=1, bias=False),
                bn2=nn.BatchNorm2d(outputs),
            )
        )
        self.stride = stride
        missing = outputs - inputs
        self.zeros = (missing // 2, missing - missing // 2)  # channels of zeros before and after the shortcut's own

    def forward(self, values: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', ceil(H / stride), ceil(W / stride)]."""
        return torch.relu_(super().forward(values) + self.shortcut(values))

    def shortcut(self, values: Tensor) -> Tensor:
        """Option A: the input itself, subsampled, with zeros for the channels that it lacks; no parameters."""
        if self.stride > 1:
            values = values[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(values, (0, 0, 0, 0, *self.zeros)) if any(self.zeros) else values

    def sequence(self, prefix: str = "") -> list[Stage]:
        """The second convolution feeds no layer alone: the shortcut is added to it."""
        return chain_sequence(self, prefix)


class ResNet20(ChainModel):
    """A convolution, nine residual blocks in three stages, the mean over the map, and a linear layer.

    269,722 parameters for 10 classes. Layers are named conv1, block1_1.conv1 .. block3_3.conv2 and fc.
    """

    def __init__(self, classes: int, image_shape: tuple[int, int, int] = (3, 32, 32), width: float = 1.0) -> None:
        """Build with random initial weights.

        Args:
            classes: Number of classes K.
            image_shape: Channels, height and width of an image; any height and width will do.
            width: Factor on all channel counts; 1 is the published model.
        """
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = max(FEWEST, round(STAGE_CHANNELS[0] * width))
        layers["conv1"] = QuantConv2d(image_shape[0], channels, kernel_size=3, padding=1, bias=False)
        layers["bn1"] = nn.BatchNorm2d(channels)
        layers["relu1"] = nn.ReLU(inplace=True)
        for stage, base in enumerate(STAGE_CHANNELS, 1):
            out = max(FEWEST, round(base * width))
            for block in range(1, BLOCKS + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                layers[f"block{stage}_{block}"] = Residual(channels, out, stride)
                channels = out
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = QuantLinear(channels, classes)
        super().__init__(layers)
