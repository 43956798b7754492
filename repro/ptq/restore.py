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
    """
    for name, layer in quant_layers(model).items():
        codes = state[f"{name}.weight_quantizer.stored_codes"]
        needed = next(bits for bits in range(bit_width, 9) if codes.abs().max() <= largest_code(bits))
        scale = torch.empty_like(state[f"{name}.weight_quantizer.stored_scale"])
        layer.weight_quantizer = FrozenQuantizer(codes, scale, needed)
    model.load_state_dict(state)
