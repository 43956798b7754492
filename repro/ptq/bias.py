"""Bias correction after any method: mean outputs as before (Nagel, van Baalen, Blankevoort, Welling 2019)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from repro.ptq.calibration import correct_biases, output_means, require_images
from repro.quant import effective_weight, quant_layers
from repro.quant.sequence import model_sequence

KEEP_MEANS = (nn.ReLU, nn.Flatten, nn.Dropout)  # in evaluation, beside the ReLU that is reckoned with


@contextmanager
def corrected(model: nn.Module, images: Tensor | None, kind: str) -> Iterator[None]:
    """Correct the biases after what is done to ``model`` within: nothing for ``own``.

    ``empirical`` is ``correct_biases`` on the images. ``analytic`` is section 4.2.1: with the change e of a weight, the
    mean output moves by e E[x], and of a batch norm's output behind a ReLU E[x] is known (equation 19). Layers whose
    input is anything else, an image, a pooled map or a sum with a shortcut, are corrected empirically, as Qualcomm's
    AIMET does, against whose code the formula was checked. As there the border, where zeros are padded, counts as
    inside. Not modelled: activation functions other than ReLU.

    Args:
        model: In FP32 and evaluation mode; within, its weights are quantised and its latent weights stay.
        images: Calibration images [N, C, H, W].
        kind: ``own``, ``analytic`` or ``empirical``.
    """
    if kind == "own":
        yield
        return
    images = require_images(images, f"bias_correction: {kind}")
    target = output_means(model, images)
    means = expected_inputs(model) if kind == "analytic" else {}
    yield
    layers = quant_layers(model)
    with torch.no_grad():
        changes = {name: (effective_weight(layers[name]) - layers[name].weight).flatten(1) for name in means}
        shifts = {
            name: -change.reshape(len(change), len(means[name]), -1).sum(2) @ means[name]
            for name, change in changes.items()
        }
    correct_biases(model, images, target, shifts)


@torch.no_grad()
def expected_inputs(model: nn.Module) -> dict[str, Tensor]:
    """Mean input [C], by channel, of each layer behind a batch norm and a ReLU alone; by the layer's name."""
    names = {layer: name for name, layer in quant_layers(model).items()}
    means: dict[str, Tensor] = {}
    for stage in model_sequence(model):
        rectified = any(isinstance(module, nn.ReLU) for module in stage.through)
        if stage.norm is not None and rectified and all(isinstance(module, KEEP_MEANS) for module in stage.through):
            means.update({names[layer]: rectified_mean(stage.norm.bias, stage.norm.weight) for layer in stage.next})
    return means


def rectified_mean(mean: Tensor, deviation: Tensor) -> Tensor:
    """E[max(x, 0)] of normal x, element by element; the deviation's sign does not matter."""
    deviation = deviation.abs().clamp_min(torch.finfo(deviation.dtype).tiny)
    ratio = mean / deviation
    density = (ratio.square() / -2).exp() / (2 * torch.pi) ** 0.5
    result: Tensor = deviation * density + mean * torch.special.ndtr(ratio)
    return result
