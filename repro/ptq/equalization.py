"""Data-free quantisation's weight equalisation (Nagel, van Baalen, Blankevoort, Welling 2019)."""

import torch
from torch import Tensor, nn

from repro.ptq.calibration import correct_biases, output_means, require_images
from repro.ptq.frozen import freeze_with_bound, per_channel
from repro.quant import QuantLayer, absmax, quant_layers
from repro.quant.sequence import Stage, model_sequence

SWEEPS = 20
CONVERGED = 1e-3  # largest change of a channel's factor in a sweep


def cross_layer_equalization(model: nn.Module, images: Tensor | None, bit_width: int) -> None:
    """Fold batch norm, equalise ranges over layers, quantise per tensor by absmax, correct biases.

    Sections 4.1 (equalisation, equation 11) and 4.2 (bias correction) of the paper. Bias correction is the
    empirical one, on ``images``; the paper's main form needs no data and takes the means from batch norm's
    statistics. Left out: bias absorption (section 4.1.3), which serves quantised activations; here they are FP32.

    Only layers between which nothing branches are equalised: in a residual network the two convolutions of each block,
    as in the paper. Elsewhere a factor would have to pass through a shortcut, and the layers keep their ranges.

    Args:
        model: Trained FP32 model; changed in place.
        images: Calibration images [N, C, H, W].
        bit_width: Bits a weight.

    Raises:
        ReproError: If there are no images, or the model does not say which layers follow each other.
    """
    images = require_images(images, "cle")
    fold_batch_norms(model)
    equalize(model)
    target = output_means(model, images)
    for layer in quant_layers(model).values():
        freeze_with_bound(layer, absmax(layer.weight), bit_width)
    correct_biases(model, images, target)


@torch.no_grad()
def fold_batch_norms(model: nn.Module) -> None:
    """Move each batch norm that follows a layer directly into the layer; the model computes what it did.

    W' = W g / sqrt(v + eps) and b' = (b - m) g / sqrt(v + eps) + beta, with g, beta, m and v of batch norm, which
    stays in the model as the identity, so that its structure and its files' names are those of every other run. A
    layer without a bias leaves b' to the batch norm as its beta.
    """
    for stage in model_sequence(model):
        layer, norm = stage.layer, stage.norm
        if norm is None:
            continue
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        layer.weight.mul_(per_channel(gain, layer.weight))
        if layer.bias is None:
            norm.bias.sub_(norm.running_mean * gain)
        else:
            layer.bias.copy_((layer.bias - norm.running_mean) * gain + norm.bias)
            norm.bias.zero_()
        norm.weight.fill_((1 + norm.eps) ** 0.5)
        norm.running_mean.zero_()
        norm.running_var.fill_(1)


@torch.no_grad()
def equalize(model: nn.Module) -> None:
    """Give the channels between two layers equal ranges in both; the model computes what it did.

    Batch norm must be folded. ReLU and max-pooling are positively homogeneous, so channel i may leave the first
    layer divided by s_i and enter the second multiplied by it: s_i = sqrt(r1_i r2_i) / r2_i (equation 11), over
    all pairs until nothing changes. Pairs are the stages with a ``next``; of several next layers r2 is the largest.
    """
    stages = [stage for stage in model_sequence(model) if stage.next]
    for _ in range(SWEEPS):
        if max(map(_equalize_stage, stages), default=0.0) < CONVERGED:
            break


def _equalize_stage(stage: Stage) -> float:
    """Equalise a layer with those that it feeds; returns the largest change of a factor from 1."""
    first = stage.layer
    incoming = [_by_input_channel(layer, len(first.weight)) for layer in stage.next]
    range_1 = first.weight.flatten(1).abs().amax(dim=1)
    range_2 = torch.stack([weight.abs().amax(dim=(0, 2)) for weight in incoming]).amax(dim=0)
    alive = (range_1 > 0) & (range_2 > 0)
    factor = torch.where(alive, (range_1 / range_2.clamp(min=torch.finfo(range_2.dtype).tiny)).sqrt(), 1.0)
    first.weight.div_(per_channel(factor, first.weight))
    for shift in (first.bias, None if stage.norm is None else stage.norm.bias):
        if shift is not None:
            shift.div_(factor)
    for layer, weight in zip(stage.next, incoming, strict=True):
        layer.weight.copy_((weight * factor.reshape(1, -1, 1)).reshape(layer.weight.shape))
    return float((factor - 1).abs().max())


def _by_input_channel(layer: QuantLayer, channels: int) -> Tensor:
    """A layer's weight as [outputs, channels, rest]: flattened maps have several columns a channel."""
    return layer.weight.reshape(len(layer.weight), channels, -1)
