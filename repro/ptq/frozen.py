"""Give a layer its codes and scale."""

import torch
from torch import Tensor

from repro.quant import FrozenQuantizer, QuantLayer, largest_code, quantize


def per_channel(values: Tensor, weight: Tensor) -> Tensor:
    """One value an output channel [O], shaped [O, 1, ...] to broadcast to ``weight``."""
    return values.reshape(-1, *[1] * (weight.dim() - 1))


def freeze_with_bound(layer: QuantLayer, bound: Tensor, bit_width: int) -> None:
    """Round a layer's weight to the nearest level within ``bound`` (equations 1-3 of the paper).

    Args:
        layer: The layer; its latent weight stays as it is.
        bound: Clipping bound c in weight units; scalar, or a shape that broadcasts to the weight.
        bit_width: Bits a code.
    """
    scale = bound.detach() / largest_code(bit_width)
    freeze(layer, quantize(layer.weight.detach(), scale, largest_code(bit_width)), scale, bit_width)


def freeze(layer: QuantLayer, codes: Tensor, scale: Tensor, bit_width: int) -> None:
    """Make a layer compute with ``codes`` (whole numbers, the weight's shape) times ``scale`` from now on."""
    codes = codes.detach().contiguous(memory_format=torch.contiguous_format)
    layer.weight_quantizer = FrozenQuantizer(codes, scale.detach().clone(), bit_width)
