"""The ONNX file: INT4 initialisers, and onnxruntime's logits beside PyTorch's."""

import onnx
import pytest
import torch
from torch import nn

from repro.config.registry import MODELS
from repro.export import ExportError, build_onnx
from repro.export.evaluate import onnx_session, session_logits
from repro.export.latency import measure_latency
from repro.quant import FrozenQuantizer, quant_layers
from repro.quant.uniform import AbsmaxQuantizer
from repro.records.export import VARIANTS


class BetweenLevels(AbsmaxQuantizer):
    """A grid without a zero, as DoReFa's: no code times scale."""

    def forward(self, weight):
        return self.dequantize(*self.codes(weight))

    def dequantize(self, codes, scale):
        return (codes + 0.5) * scale


def relative_difference(content, model, images):
    logits = session_logits(onnx_session(content, threads=1))(images)
    with torch.no_grad():
        expected = model(images)
    return float((logits - expected).abs().max() / expected.abs().max())


def test_at_full_width_int4_is_small_and_agrees(built, images):
    model, record = built(width=1.0)
    content = build_onnx(model, record)
    assert len(content) < 1_700_000
    assert relative_difference(content, model, images) < 1e-4
    proto = onnx.load_from_string(content)
    assert [entry.version for entry in proto.opset_import] == [21]
    codes = [tensor for tensor in proto.graph.initializer if tensor.name.endswith(".codes")]
    assert [tensor.data_type for tensor in codes] == [onnx.TensorProto.INT4] * 8
    assert sum(len(tensor.raw_data) for tensor in codes) == 3_246_784 // 2
    assert sum(node.op_type == "DequantizeLinear" for node in proto.graph.node) == 8
    assert build_onnx(model, record) == content


def test_onnx_reads_the_codes_that_the_quantiser_gave(built):
    model, record = built()
    proto = onnx.load_from_string(build_onnx(model, record))
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "conv1.codes")
    codes, _ = model.layers.conv1.weight_quantizer.codes(model.layers.conv1.weight)
    assert onnx.numpy_helper.to_array(tensor).astype(int).tolist() == codes.tolist()


@pytest.mark.parametrize(("bits", "kind"), [(2, "INT4"), (3, "INT4"), (4, "INT4"), (5, "INT8"), (8, "INT8")])
def test_each_bit_width_takes_the_narrowest_type_that_holds_it(built, images, bits, kind):
    model, record = built(bits=bits)
    content = build_onnx(model, record)
    types = {t.data_type for t in onnx.load_from_string(content).graph.initializer if t.name.endswith(".codes")}
    assert types == {getattr(onnx.TensorProto, kind)}
    assert relative_difference(content, model, images) < 1e-4


@pytest.mark.parametrize("storage", ["FP32", "INT8", "INT4"])
def test_every_storage_of_the_weights_gives_the_same_logits(built, images, storage):
    model, record = built()
    assert relative_difference(build_onnx(model, record, storage), model, images) < 1e-4


def test_fp32_and_unquantised_layers_stay_fp32(built, images):
    model, record = built()
    model.layers.fc2.weight_quantizer = None
    content = build_onnx(model, record)
    assert sum(node.op_type == "DequantizeLinear" for node in onnx.load_from_string(content).graph.node) == 7
    assert relative_difference(content, model, images) < 1e-4
    model, record = built(experiment="fp32_cifar10")
    assert relative_difference(build_onnx(model, record), model, images) < 1e-4


def test_a_scale_a_channel_agrees_too(built, images):
    model, record = built()
    for layer in quant_layers(model).values():
        codes, scale = layer.weight_quantizer.codes(layer.weight)
        channels = torch.linspace(0.5, 2, len(codes)).reshape(-1, *[1] * (codes.dim() - 1))
        layer.weight_quantizer = FrozenQuantizer(codes, scale * channels, bit_width=4)
    assert relative_difference(build_onnx(model, record), model, images) < 1e-4


@pytest.mark.parametrize("image_shape", [(3, 32, 32), (1, 13, 10)])
@pytest.mark.parametrize("model", [name for name in MODELS if name != "vit_tiny"])
def test_every_model_and_image_size_agrees(built, model, image_shape):
    net, record = built(model=model, image_shape=image_shape)
    images = torch.randn(4, *image_shape).to(memory_format=torch.channels_last)
    content = build_onnx(net, record)
    assert relative_difference(content, net, images) < 1e-4
    proto = onnx.load_from_string(content)
    assert [entry.dim_value for entry in proto.graph.input[0].type.tensor_type.shape.dim][1:] == list(image_shape)
    assert sum(node.op_type == "DequantizeLinear" for node in proto.graph.node) == len(quant_layers(net))


def test_what_the_graph_cannot_hold_is_refused(built):
    model, record = built(bits=8)
    with pytest.raises(ExportError, match="do not fit 4 bits"):
        build_onnx(model, record, "INT4")
    model, record = built()
    model.layers.conv3.weight_quantizer = BetweenLevels(model.layers.conv3.weight, bit_width=4)
    with pytest.raises(ExportError, match="conv3: ONNX has codes times one scale"):
        build_onnx(model, record)
    model, record = built()
    model.layers.relu3 = nn.GELU()
    with pytest.raises(ExportError, match="layer relu3: GELU is not written as ONNX"):
        build_onnx(model, record)
    with pytest.raises(ExportError, match="layer embed: Embedding is not written as ONNX"):
        build_onnx(*built(model="vit_tiny"))
    model, record = built()
    model.layers.conv2.input_quantizer = nn.Identity()
    with pytest.raises(ExportError, match="layer conv2: quantised activations"):
        build_onnx(model, record)


def test_latency_times_every_variant_that_there_is(built):
    model, record = built(width=0.0625)
    latency = measure_latency(model, record, threads=1, rounds=2)
    assert tuple(latency["seconds"]) == VARIANTS[:4]
    for batches in latency["seconds"].values():
        assert set(batches) == {"1", "128"}
        assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in batches.values())
    assert all(layer.weight_quantizer is not None for layer in quant_layers(model).values()), "the model is left alone"
    model, record = built(bits=8, width=0.0625)
    assert tuple(measure_latency(model, record, threads=1, rounds=1)["seconds"]) == VARIANTS[:3]
    model, record = built(experiment="fp32_cifar10", width=0.0625)
    assert tuple(measure_latency(model, record, threads=1, rounds=1)["seconds"]) == VARIANTS[:2]
