"""A frozen layer computes with what is stored."""

import pytest
import torch

from repro.quant import FrozenQuantizer, QuantLinear, count_levels, effective_weight, mean_scale


def test_codes_and_scale_decide_and_the_latent_weight_does_not() -> None:
    layer = QuantLinear(4, 3, bias=False)
    codes = torch.tensor([[-7, 0, 1, 7], [2, 2, 2, 2], [0, 0, 0, -1]], dtype=torch.int8)
    scale = torch.tensor([[0.5], [0.25], [2.0]])
    layer.weight_quantizer = FrozenQuantizer(codes, scale, bit_width=4)
    with torch.no_grad():
        layer.weight.fill_(float("1e9"))
    assert torch.equal(effective_weight(layer), codes * scale)
    assert torch.equal(layer(torch.ones(1, 4)), torch.tensor([[0.5, 2.0, -2.0]]))
    assert count_levels(layer) == 6
    assert mean_scale(layer) == pytest.approx((0.5 + 0.25 + 2.0) / 3)


def test_it_travels_in_the_state() -> None:
    quantizer = FrozenQuantizer(torch.ones(2, 2, dtype=torch.int8), torch.tensor(0.5), bit_width=4)
    assert set(quantizer.state_dict()) == {"stored_codes", "stored_scale"}
