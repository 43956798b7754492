import pytest

from repro.analysis import Architecture


@pytest.mark.parametrize("classes", [10, 100])
def test_arithmetic_equals_the_model_that_is_trained(classes):
    pytest.importorskip("torch")
    from repro.config.registry import MODELS
    from repro.quant import attach_quantizers
    from repro.train.measure import count_flops, count_parameters, model_sizes

    model = MODELS["vgg"](classes, width=1.0, dropout=0.5)
    attach_quantizers(model, "absmax", bit_width=4)
    by_hand = Architecture(classes)
    assert count_parameters(model) == {"parameters": by_hand.parameters, "quantized_weights": by_hand.weights}
    sizes = {name: getattr(by_hand, name) for name in ("fp32_bytes", "paper_bytes", "packed_bytes")}
    assert model_sizes(model) == sizes
    assert count_flops(model, (3, 32, 32))["step_flops_per_image"] == by_hand.step_flops


def test_the_papers_counts():
    assert Architecture(10).parameters == 3_251_018
    assert Architecture(100).parameters == 3_297_188  # the text prints 3,301,468
    assert Architecture(10).packed_bytes == 1_651_680
