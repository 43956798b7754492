"""Post-training quantisation by name, and the methods that are nothing but a choice of clipping bound.

A method is ``method(model, images, **options)`` in a module here and quantises the model in
place: afterwards every quantisable layer has a ``FrozenQuantizer``. ``images`` are normalised calibration
images [N, C, H, W] on the model's device, or ``None``; a method that needs them raises without.
"""

import torch
from torch import Tensor, nn

from repro.config.registry import PTQ_METHODS
from repro.ptq.bias import corrected
from repro.ptq.clipping import mse_bound
from repro.ptq.frozen import freeze_with_bound, per_channel
from repro.quant import absmax, largest_code, quant_layers
from repro.quant.functional import ABSMAX_EPSILON


@torch.no_grad()
def absmax_tensor(model: nn.Module, images: Tensor | None, bit_width: int) -> None:
    """One scale a layer from its largest magnitude: equations 1-5 of the paper, applied once after training."""
    for layer in quant_layers(model).values():
        freeze_with_bound(layer, absmax(layer.weight), bit_width)


@torch.no_grad()
def absmax_channel(model: nn.Module, images: Tensor | None, bit_width: int) -> None:
    """One scale an output channel from its largest magnitude (Krishnamoorthi 2018, section 2.4, symmetric)."""
    for layer in quant_layers(model).values():
        bound = layer.weight.flatten(1).abs().amax(dim=1) + ABSMAX_EPSILON
        freeze_with_bound(layer, per_channel(bound, layer.weight), bit_width)


@torch.no_grad()
def mse_tensor(model: nn.Module, images: Tensor | None, bit_width: int) -> None:
    """One scale a layer, from the bound that leaves the least squared error of the weights (grid search)."""
    for layer in quant_layers(model).values():
        bound = mse_bound(layer.weight.reshape(1, -1), largest_code(bit_width))
        freeze_with_bound(layer, bound.squeeze(0), bit_width)


def quantize_model(
    model: nn.Module, name: str, images: Tensor | None, *, bias_correction: str = "own", **options: object
) -> None:
    """Quantise a trained FP32 model in place, in evaluation mode and FP32 arithmetic.

    Args:
        model: Trained, without quantisers.
        name: A key of ``PTQ_METHODS``.
        images: Normalised calibration images [N, C, H, W], or ``None`` for a method that needs none.
        bias_correction: ``own`` leaves it to the method; ``analytic`` or ``empirical`` follows it (``repro.ptq.bias``).
        **options: The method's options.

    Raises:
        ReproError: If the method, or the correction, needs calibration images and there are none.
    """
    model.eval()
    with corrected(model, images, bias_correction):
        PTQ_METHODS[name](model, images, **options)
