"""From a PTQ run's weights file back to its model."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from repro.quant import FrozenQuantizer, largest_code, quant_layers


def attach_stored(model: nn.Module, state: Mapping[str, Tensor], bit_width: int) -> None:
    """Give a model without quantisers the codes, scales and parameters of a PTQ run's ``weights.pt``.

    Args:
        model: As ``build_model`` gives it for the run's spec.
        state: The file's content.
        bit_width: The spec's; a layer whose codes need more (ACIQ) gets what they need.

    Raises:
        KeyError: If codes or scales are not there.
        RuntimeError: If they are those of another model.
    """
    for name, layer in quant_layers(model).items():
        codes = state[f"{name}.weight_quantizer.stored_codes"]
        stored = state[f"{name}.weight_quantizer.stored_scale"]
        if codes.shape != layer.weight.shape or stored.shape not in scale_shapes(layer.weight):
            raise RuntimeError(f"codes {list(codes.shape)} and scale {list(stored.shape)} are not those of {name}")
        needed = next((bits for bits in range(bit_width, 9) if codes.abs().max() <= largest_code(bits)), 8)
        scale = torch.empty_like(stored)
        layer.weight_quantizer = FrozenQuantizer(codes, scale, needed)
    model.load_state_dict(state)


def scale_shapes(weight: Tensor) -> tuple[torch.Size, ...]:
    """Shapes that the scale of PTQ's codes may have: one for all weights, or one an output channel."""
    return torch.Size(), torch.Size([1]), torch.Size([len(weight), *[1] * (weight.dim() - 1)])
