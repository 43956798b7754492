"""The ONNX file that computes in integers: the operators that onnxruntime makes of it, and its logits."""

import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from repro.export import ExportError, build_integer
from repro.export.evaluate import onnx_session, session_logits, session_operators
from repro.export.latency import measure_latency
from repro.quant import FrozenQuantizer, quant_layers
from repro.records.export import VARIANTS


def normalised(model, images):
    """Running statistics of these images, as a trained model has: each channel then uses its 8 bits."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        model(images)
    return model.eval()


def inputs_of(model, images):
    """The input of each quantised layer."""
    inputs = {}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, args: inputs.__setitem__(layer, args[0]))
        for layer in quant_layers(model).values()
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return inputs


@torch.no_grad()
def by_hand(model, images):
    """Logits [N, K] in float64 from the modules themselves: inputs rounded to 8 bits, biases to whole products."""
    steps, zeros = {}, {}
    for layer, x in inputs_of(model, images).items():
        low, high = min(x.min().item(), 0), x.max().item()
        steps[layer] = (high - low) / 255
        zeros[layer] = round(-low / steps[layer])
    modules, value = list(model.double().layers), images.double()
    for place, module in enumerate(modules):
        if module in steps:
            value = ((value / steps[module] + zeros[module]).round().clamp(0, 255) - zeros[module]) * steps[module]
        value = module(value)
        layer = modules[place - 1] if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) else module
        if layer in steps and not isinstance(
            modules[min(place + 1, len(modules) - 1)], nn.BatchNorm1d | nn.BatchNorm2d
        ):
            factor, bias = torch.ones_like(layer.bias), layer.bias
            if layer is not module:
                factor = module.weight / torch.sqrt(module.running_var + module.eps)
                bias = (layer.bias - module.running_mean) * factor + module.bias
            _, scale = layer.weight_quantizer.codes(layer.weight)
            product = scale.flatten() * factor.abs() * steps[layer]
            error = torch.where(product > 1e-12, (bias / product).round() * product - bias, 0)
            value = value + error.reshape(1, -1, *[1] * (value.dim() - 2))
    model.float()
    return value


def assert_computes_by_hand(model, record, images, storage="INT4"):
    logits = session_logits(onnx_session(build_integer(model, record, images, storage), threads=1))(images)
    expected = by_hand(model, images)
    assert (expected - logits).abs().max() < 0.02 * expected.abs().max()  # a tie may fall on either side
    assert (expected - logits).abs().mean() < 0.002 * expected.abs().max()
    return logits


def test_every_layer_becomes_an_integer_operator_and_the_file_keeps_int4(built, images):
    model, record = built(width=1.0)
    content = build_integer(model, record, images)
    operators = session_operators(content)
    assert (operators["QLinearConv"], operators["QGemm"]) == (6, 2)
    assert not {"Conv", "Gemm", "MatMul", "BatchNormalization", "Relu", "DequantizeLinear"} & set(operators)
    assert operators["QuantizeLinear"] == 1, "the images'"
    assert len(content) < 1_700_000
    proto = onnx.load_from_string(content)
    codes = [tensor for tensor in proto.graph.initializer if tensor.name.endswith(".codes")]
    assert [tensor.data_type for tensor in codes] == [onnx.TensorProto.INT4] * 8
    assert build_integer(model, record, images) == content
    assert session_operators(build_integer(model, record, images, "INT8")) == operators


@pytest.mark.parametrize("storage", ["INT4", "INT8"])
def test_its_logits_are_those_of_8_bit_activations(built, images, storage):
    model, record = built(width=0.25)
    normalised(model, images)
    logits = assert_computes_by_hand(model, record, images, storage)
    with torch.no_grad():
        exact = model(images)
    assert 1e-4 < (exact - logits).abs().max() / exact.abs().max() < 0.15


def test_negative_zero_and_tiny_factors_of_batch_norm(built, images):
    model, record = built(width=0.25)
    normalised(model, images)
    for name in ("bn1", "bn4", "bn7"):
        norm = model.layers.get_submodule(name)
        with torch.no_grad():
            norm.weight[::4] *= -1
            norm.weight[1::4] = 0
            norm.weight[2::4] = 1e-20
            norm.bias.uniform_(-1, 1)
    assert_computes_by_hand(model, record, images)


def test_the_codes_in_the_file_are_the_quantisers_own(built, images):
    model, record = built()
    with torch.no_grad():
        model.layers.bn2.weight[3] *= -1
    proto = onnx.load_from_string(build_integer(model, record, images))
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "conv2.codes")
    codes, _ = model.layers.conv2.weight_quantizer.codes(model.layers.conv2.weight)
    codes[3] *= -1
    assert np.array_equal(onnx.numpy_helper.to_array(tensor).astype(int), codes)
    metadata = json.loads({entry.key: entry.value for entry in proto.metadata_props}["repro"])
    assert metadata["arithmetic"] == "int8"


def test_no_sum_of_two_products_leaves_16_bits(built, images):
    """Where a processor has no VNNI: all activations 255, all weights the largest code, on both sides of zero."""
    model, record = built(bits=7, width=0.25)
    for layer in quant_layers(model).values():
        _, scale = layer.weight_quantizer.codes(layer.weight)
        signs = torch.where(torch.arange(len(layer.weight)) % 2 == 0, 1, -1).reshape(
            -1, *[1] * (layer.weight.dim() - 1)
        )
        codes = (63 * signs).expand_as(layer.weight).to(torch.int8).contiguous()
        layer.weight_quantizer = FrozenQuantizer(codes, scale, bit_width=7)
    bright = torch.full_like(images, 2.0)
    bright[0] = -2.0
    normalised(model, bright)
    assert_computes_by_hand(model, record, bright, "INT8")


def test_a_scale_a_channel_is_kept(built, images):
    model, record = built(width=0.25)
    for layer in quant_layers(model).values():
        codes, scale = layer.weight_quantizer.codes(layer.weight)
        channels = torch.linspace(0.5, 2, len(codes)).reshape(-1, *[1] * (codes.dim() - 1))
        layer.weight_quantizer = FrozenQuantizer(codes, scale * channels, bit_width=4)
    normalised(model, images)
    assert_computes_by_hand(model, record, images)


def test_what_cannot_compute_in_integers_is_refused(built, images):
    model, record = built(experiment="fp32_cifar10")
    with pytest.raises(ExportError, match="layer conv1: its weights have no codes"):
        build_integer(model, record, images)
    model, record = built(bits=8)
    with pytest.raises(ExportError, match="layer conv1: codes above 64 overflow"):
        build_integer(model, record, images, "INT8")
    model, record = built()
    model.layers.relu3 = nn.GELU()
    with pytest.raises(ExportError, match="layer relu3: GELU has no place"):
        build_integer(model, record, images)
    model.layers.relu3 = nn.Flatten()
    with pytest.raises(ExportError, match="needs ReLU after each layer but the last"):
        build_integer(model, record, images)
    model, record = built()
    model.layers.conv2.input_quantizer = nn.Identity()
    with pytest.raises(ExportError, match="layer conv2: quantised activations"):
        build_integer(model, record, images)
    model, record = built()
    model.layers.bn3.running_mean.fill_(float("nan"))
    with pytest.raises(ExportError, match="its activations are no numbers"):
        build_integer(model, record, images)


def test_latency_times_it_beside_the_others(built, images):
    model, record = built(width=0.0625)
    integer = build_integer(model, record, images)
    assert tuple(measure_latency(model, record, 1, integer, rounds=1)["seconds"]) == VARIANTS
