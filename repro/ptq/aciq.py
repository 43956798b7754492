"""ACIQ: analytic clipping, per-channel bit allocation and bias correction (Banner, Nahshan, Soudry 2019)."""

import math

import torch
from torch import Tensor, nn

from repro.ptq.calibration import correct_biases, output_means, require_images
from repro.ptq.clipping import gauss_clip, laplace_clip
from repro.ptq.frozen import freeze, per_channel
from repro.quant import QuantLayer, largest_code, quant_layers
from repro.quant.functional import ABSMAX_EPSILON

FEWEST_BITS, MOST_BITS = 2, 8  # a narrow range of one bit holds zero alone; codes are int8


@torch.no_grad()
def aciq(model: nn.Module, images: Tensor | None, bit_width: int) -> None:
    """Quantise each output channel with its own bound and its own number of bits, ``bit_width`` on average.

    Modelled for weights: the clipping bound of least expected error (section 2), bins in proportion to a
    channel's range to the power 2/3 (section 3, equation 11), the correction of each channel's norm and of
    its mean (section 4).

    Deviations. The original clips activations; here they stay FP32 and the weights are clipped. It fixes the sum
    of bins and rounds; here the average of bits is ``bit_width`` exactly, as far as 2 to 8 bits a channel allow.
    It has 2^M levels, here 2^M - 1 (signed narrow range). It shifts the weights' mean off the grid; here the
    bias takes the shift's effect on the mean output, measured on ``images``, so that weight = code x scale still
    holds.

    What it means for a file: a layer's ``bit_width`` is that of its widest channel, and sizes are counted with it. A
    file with channels of different widths would hold ``bit_width`` bits a weight on average, and one width a channel.

    Args:
        model: Trained FP32 model; changed in place.
        images: Calibration images [N, C, H, W].
        bit_width: Average bits a weight of each layer, from 2 to 8.
    """
    images = require_images(images, "aciq")
    target = output_means(model, images)
    for layer in quant_layers(model).values():
        _freeze_layer(layer, bit_width)
    correct_biases(model, images, target)


def _freeze_layer(layer: QuantLayer, bit_width: int) -> None:
    rows = layer.weight.detach().flatten(1)
    spread = _Spread(rows)
    bits = allocate_bits(spread.bound(torch.full((len(rows),), bit_width)), bit_width)
    quant_max = torch.tensor([largest_code(int(count)) for count in bits], device=rows.device).unsqueeze(1)
    # `levels` regions of equal width cover [-bound, bound], each represented by its middle
    scale = (2 * spread.bound(bits) / (2 * quant_max.squeeze(1) + 1)).unsqueeze(1)
    codes = (rows / scale).round().clamp(-quant_max, quant_max)
    scale = scale * _norm_correction(rows, codes * scale)
    shape = layer.weight.shape
    freeze(layer, codes.reshape(shape), per_channel(scale.squeeze(1), layer.weight), int(bits.max()))


class _Spread:
    """How wide the weights of each row are: the likelier of a Laplace and a normal distribution around zero."""

    def __init__(self, rows: Tensor) -> None:
        self.b = rows.abs().mean(dim=1) + ABSMAX_EPSILON
        self.sigma = rows.square().mean(dim=1).sqrt() + ABSMAX_EPSILON
        # mean log-likelihoods with their maximum-likelihood parameters: -ln 2b - 1 and -ln(2 pi sigma^2) / 2 - 1 / 2
        self.is_laplace = -(2 * self.b).log() - 1 > -0.5 * (2 * math.pi * self.sigma**2).log() - 0.5

    def bound(self, bits: Tensor) -> Tensor:
        """Clipping bound [R] of each row for its number of bits [R]."""
        levels = [2 * largest_code(int(count)) + 1 for count in bits]
        factors = {count: (laplace_clip(count), gauss_clip(count)) for count in set(levels)}
        laplace, gauss = torch.tensor([factors[count] for count in levels]).to(self.b).unbind(dim=1)
        return torch.where(self.is_laplace, laplace * self.b, gauss * self.sigma)


def allocate_bits(ranges: Tensor, bit_width: int) -> Tensor:
    """Bits of each channel, their sum ``bit_width`` a channel (Banner 2019, equation 11, rounded).

    The bins that leave the least squared error for a given number in all are in proportion to range^(2/3), so
    bits differ by 2/3 log2 of the ranges' ratio. From the fewest upwards, each bit goes to the channel that
    is farthest below its share.

    Args:
        ranges: Range of each channel [C], in any one unit.
        bit_width: Average number of bits.

    Returns:
        Whole numbers [C] from 2 to 8.
    """
    share = (2 / 3 * ranges.clamp(min=ABSMAX_EPSILON).log2()).tolist()
    bits = [FEWEST_BITS] * len(share)
    for _ in range((bit_width - FEWEST_BITS) * len(share)):
        open_channels = [channel for channel, count in enumerate(bits) if count < MOST_BITS]
        bits[max(open_channels, key=lambda channel: share[channel] - bits[channel])] += 1
    return torch.tensor(bits)


def _norm_correction(rows: Tensor, quantized: Tensor) -> Tensor:
    """Factor [R, 1] that gives the quantised rows their norm around the mean back (section 4, xi)."""
    norm, now = (values.sub(values.mean(dim=1, keepdim=True)).norm(dim=1, keepdim=True) for values in (rows, quantized))
    return torch.where((norm > 0) & (now > 0), norm / now.clamp(min=ABSMAX_EPSILON), torch.ones_like(norm))
