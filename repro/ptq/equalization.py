"""Data-free quantisation's weight equalisation (Nagel, van Baalen, Blankevoort, Welling 2019)."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from repro.ptq.calibration import correct_biases, output_means, require_images
from repro.ptq.frozen import freeze_with_bound
from repro.quant import QuantConv2d, QuantLayer, QuantLinear, absmax, quant_layers

SWEEPS = 20
CONVERGED = 1e-3  # largest change of a channel's factor in a sweep

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
# f(s x) = s f(x) for s > 0 and channels stay apart: a factor may pass through (dropout is the identity here)
HOMOGENEOUS = (nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.BatchNorm1d, nn.BatchNorm2d)


def cross_layer_equalization(model: nn.Module, images: Tensor | None, bit_width: int) -> None:
    """Fold batch norm, equalise ranges over layers, quantise per tensor by absmax, correct biases.

    Sections 4.1 (equalisation, equation 11) and 4.2 (bias correction) of the paper. Bias correction is the
    empirical one, on ``images``; the paper's main form needs no data and takes the means from batch norm's
    statistics. Left out: bias absorption (section 4.1.3), which serves quantised activations; here they are FP32.

    Args:
        model: Trained FP32 model; changed in place.
        images: Calibration images [N, 3, 32, 32].
        bit_width: Bits a weight.
    """
    images = require_images(images, "cle")
    fold_batch_norms(model)
    equalize(model)
    target = output_means(model, images)
    for layer in quant_layers(model).values():
        freeze_with_bound(layer, absmax(layer.weight), bit_width)
    correct_biases(model, images, target)


def _chain(model: nn.Module) -> list[nn.Module]:
    """The model's leaves in the order of the forward pass; right for a model that is one chain, as VGG."""
    return [module for module in model.modules() if not list(module.children())]


@torch.no_grad()
def fold_batch_norms(model: nn.Module) -> None:
    """Move each batch norm that follows a layer directly into the layer; the model computes what it did.

    W' = W g / sqrt(v + eps) and b' = (b - m) g / sqrt(v + eps) + beta, with g, beta, m and v of batch norm, which
    stays in the model as the identity, so that its structure and its files' names are those of every other run.
    """
    for layer, norm in pairwise(_chain(model)):
        if not isinstance(layer, QuantLayer) or not isinstance(norm, BatchNorm):
            continue
        assert layer.bias is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        layer.weight.mul_(gain.reshape(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.copy_((layer.bias - norm.running_mean) * gain + norm.bias)
        norm.weight.fill_((1 + norm.eps) ** 0.5)
        norm.bias.zero_()
        norm.running_mean.zero_()
        norm.running_var.fill_(1)


@torch.no_grad()
def equalize(model: nn.Module) -> None:
    """Give the channels between two layers equal ranges in both; the model computes what it did.

    Batch norm must be folded. ReLU and max-pooling are positively homogeneous, so channel i may leave the first
    layer divided by s_i and enter the second multiplied by it: s_i = sqrt(r1_i r2_i) / r2_i (equation 11), over
    all pairs until nothing changes.
    """
    pairs = list(_pairs(model))
    for _ in range(SWEEPS):
        if max((_equalize_pair(first, second) for first, second in pairs), default=0.0) < CONVERGED:
            break


def _pairs(model: nn.Module) -> Iterator[tuple[QuantLayer, QuantLayer]]:
    """Neighbouring layers with nothing but homogeneous modules between them."""
    before: QuantLayer | None = None
    for module in _chain(model):
        if isinstance(module, QuantConv2d | QuantLinear):
            if before is not None:
                yield before, module
            before = module
        elif not isinstance(module, HOMOGENEOUS):
            before = None


def _equalize_pair(first: QuantLayer, second: QuantLayer) -> float:
    """Equalise one pair; returns the largest change of a factor from 1."""
    channels = first.weight.shape[0]
    incoming = second.weight.reshape(second.weight.shape[0], channels, -1)  # flattened maps: several columns a channel
    range_1, range_2 = first.weight.flatten(1).abs().amax(dim=1), incoming.abs().amax(dim=(0, 2))
    alive = (range_1 > 0) & (range_2 > 0)
    factor = torch.where(alive, (range_1 / range_2.clamp(min=torch.finfo(range_2.dtype).tiny)).sqrt(), 1.0)
    assert first.bias is not None
    first.weight.div_(factor.reshape(-1, *[1] * (first.weight.dim() - 1)))
    first.bias.div_(factor)
    second.weight.copy_((incoming * factor.reshape(1, -1, 1)).reshape(second.weight.shape))
    return float((factor - 1).abs().max())
