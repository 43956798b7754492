"""The registry of PTQ methods, and those that are nothing but a choice of clipping bound.

To add a method, write ``method(model, images, **options)`` here or in a module beside this one, add it to
``PTQ_METHODS``, and list its options in ``repro.config.schema.PTQ_METHODS``. A method quantises the model in
place: afterwards every quantisable layer has a ``FrozenQuantizer``. ``images`` are normalised calibration
images [N, C, H, W] on the model's device, or ``None``; a method that needs them raises without.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from repro.ptq.aciq import aciq
from repro.ptq.clipping import mse_bound
from repro.ptq.equalization import cross_layer_equalization
from repro.ptq.frozen import freeze_with_bound, per_channel
from repro.ptq.gptq import gptq
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


# name -> method(model, calibration images or None, **options)
PTQ_METHODS: dict[str, Callable[..., None]] = {
    "absmax": absmax_tensor,
    "absmax_channel": absmax_channel,
    "mse": mse_tensor,
    "aciq": aciq,
    "cle": cross_layer_equalization,
    "gptq": gptq,
}


def quantize_model(model: nn.Module, name: str, images: Tensor | None, **options: object) -> None:
    """Quantise a trained FP32 model in place, in evaluation mode and FP32 arithmetic.

    Args:
        model: Trained, without quantisers.
        name: A key of ``PTQ_METHODS``.
        images: Normalised calibration images [N, C, H, W], or ``None`` for a method that needs none.
        **options: The method's options.

    Raises:
        ReproError: If the method needs calibration images and there are none.
    """
    model.eval()
    PTQ_METHODS[name](model, images, **options)
