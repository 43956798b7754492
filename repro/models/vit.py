"""A small vision transformer for small images (Dosovitskiy et al. 2021; the tiny size is Touvron et al.'s, 2021)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from repro.models.base import ChainModel
from repro.quant import QuantConv2d, QuantLinear
from repro.quant.sequence import Stage

PATCH = 4  # pixels, each way: 64 tokens of a 32x32 image
DEPTH, HEADS, HEAD_FEATURES = 12, 3, 64
HIDDEN = 4  # times a token's features, in the two layers of a block
POSITION_STD = 0.02


class Embedding(nn.Module):
    """Patches as tokens, by a convolution without overlap, plus a learned position."""

    def __init__(self, image_shape: tuple[int, int, int], features: int) -> None:
        """For images of ``image_shape``, channels first; pixels beyond the last whole patch are left out."""
        super().__init__()
        channels, height, width = image_shape
        self.patches = QuantConv2d(channels, features, kernel_size=PATCH, stride=PATCH)
        self.position = nn.Parameter(torch.randn(1, (height // PATCH) * (width // PATCH), features) * POSITION_STD)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] to [N, tokens, features]."""
        tokens: Tensor = self.patches(images).flatten(2).transpose(1, 2) + self.position
        return tokens

    def sequence(self, prefix: str = "") -> list[Stage]:
        """Every block takes from it and adds to it: it feeds no layer alone."""
        return [Stage(f"{prefix}patches", self.patches)]


class Block(nn.Module):
    """Attention and two linear layers, each behind a layer norm and beside a shortcut.

    The layers of queries, keys and values are three, so that each has a scale of its own, as each has a size of its
    own; an original has them as one matrix. In FP32 that is the same network.
    """

    def __init__(self, features: int) -> None:
        """``features`` of a token."""
        super().__init__()
        self.norm1 = nn.LayerNorm(features)
        self.query, self.key, self.value, self.proj = (QuantLinear(features, features) for _ in range(4))
        self.norm2 = nn.LayerNorm(features)
        self.fc1 = QuantLinear(features, HIDDEN * features)
        self.gelu = nn.GELU()
        self.fc2 = QuantLinear(HIDDEN * features, features)

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, tokens, features] to the same."""
        tokens = tokens + self.proj(self.attend(self.norm1(tokens)))
        tokens = tokens + self.fc2(self.gelu(self.fc1(self.norm2(tokens))))
        return tokens

    def attend(self, values: Tensor) -> Tensor:
        """Each token's mean of all values, weighed by how its query meets their keys; in FP32."""
        heads = [
            layer(values).float().unflatten(2, (HEADS, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        ]
        with torch.autocast(values.device.type, enabled=False):
            return scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)

    def sequence(self, prefix: str = "") -> list[Stage]:
        """A mean of values keeps a factor on a channel, so that the values' layer feeds the next one alone."""
        stages = {name: Stage(prefix + name, layer) for name, layer in self.named_children()
                  if isinstance(layer, QuantLinear)}  # fmt: skip
        stages["value"].next.append(self.proj)
        return list(stages.values())


class TokenMean(nn.Module):
    """What the classifier takes: the mean over all tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, tokens, features] to [N, features]."""
        return tokens.mean(1)


class ViTTiny(ChainModel):
    """Patches of 4x4, 12 blocks of 192 features and 3 heads, a linear layer; 5,362,378 parameters for 10 classes.

    Every product with weights is a layer that can be quantised: the patches, 72 in the blocks and the classifier,
    named embed.patches, block1.query .. block12.fc2 and head. Products of activations (queries with keys, and with
    values) are neither quantised nor counted among a run's FLOPs; they are some 6 % more. The classifier takes the
    mean of the tokens; an original has a token of its own for it, and stochastic depth in training. Weights start with
    the deviations of the other models here. It is not written as ONNX.
    """

    def __init__(self, classes: int, image_shape: tuple[int, int, int] = (3, 32, 32), width: float = 1.0) -> None:
        """Build with random initial weights.

        Args:
            classes: Number of classes K.
            image_shape: Channels, height and width of an image, at least 4 pixels each way.
            width: Factor on a head's features; 1 is ViT-Tiny.
        """
        features = HEADS * max(2, round(HEAD_FEATURES * width))
        layers: OrderedDict[str, nn.Module] = OrderedDict(embed=Embedding(image_shape, features))
        layers |= {f"block{index}": Block(features) for index in range(1, DEPTH + 1)}
        layers["norm"] = nn.LayerNorm(features)
        layers["mean"] = TokenMean()
        layers["head"] = QuantLinear(features, classes)
        super().__init__(layers)
