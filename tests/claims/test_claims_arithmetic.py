"""What is computed from the paper's text alone, against the model that is trained and the figures at hand."""

import pytest
from torch import nn

from repro.analysis import Architecture
from repro.claims import arithmetic
from repro.models.vgg import VGG
from repro.quant import quant_layers
from repro.train.measure import count_flops


@pytest.mark.parametrize("classes", [10, 100])
def test_the_plain_description_is_the_model_that_is_trained(classes):
    model = VGG(classes, width=1.0, dropout=0.5)
    assert [layer.weights for layer in Architecture(classes).layers] == [
        layer.weight.numel() for layer in quant_layers(model).values()
    ]
    assert Architecture(classes).parameters == sum(p.numel() for p in model.parameters())
    norms = sum(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in model.modules())
    assert norms == len(Architecture(classes).layers) - 1
    assert Architecture(classes).statistics_bytes == sum(b.numel() * b.element_size() for b in model.buffers())
    assert 2 * Architecture(classes).multiply_adds == count_flops(model)["forward_flops_per_image"]


def test_known_figures():
    assert Architecture(10).parameters == 3251018
    assert Architecture(100).parameters == 3297188
    assert Architecture(10).packed_bytes == 1651680
    assert arithmetic.packed_compression(10).low == pytest.approx(7.88, abs=0.005)
    assert arithmetic.counted_compression(100).low == 8
    assert Architecture(10).multiply_adds == pytest.approx(155e6, rel=0.005)


def test_time_needs_more_than_the_peak_of_the_machine():
    """By direct convolution it could not be; Winograd's F(2×2, 3×3) multiplies 36 / 16 times less."""
    result = arithmetic.least_training_seconds(110, 2.3, 2.5)
    assert result.low / 3600 == pytest.approx(4.8 / 2.25, abs=0.02)
    assert "568 GFLOP/s" in result.how
    assert "4.8 h at that peak, 2.1 h with Winograd's" in result.how
    assert arithmetic.least_training_seconds(110, 4.6, 2.5).low == pytest.approx(result.low / 2)


def test_differences_of_ranges_and_ranks():
    result = arithmetic.printed_difference("92.5", "85–88")
    assert (result.low, result.high) == pytest.approx((0.045, 0.075))
    rows = ("w/o Tanh Soft Clipping", "w/o Per-Layer Scaling", "w/o Gradient Clipping")
    assert [arithmetic.printed_ablation_rank(row).low for row in rows] == [3, 2, 1]
    with pytest.raises(KeyError):  # it removes two components at once
        arithmetic.printed_ablation_rank("Standard AdamW (no QAware mods)")


def test_the_grid_spans_the_range():
    assert arithmetic.grid_span(7).low == 1
