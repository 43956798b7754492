"""A trained model as an ONNX file whose weights stay INT4 or INT8 behind DequantizeLinear."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from repro.export.bits import pack_codes
from repro.export.packed import METADATA_KEY, ExportError, check_range, layer_bits, layer_codes, recorded_shape
from repro.models.resnet import Residual
from repro.quant import QuantConv2d, QuantLayer, QuantLinear, effective_weight

OPSET, IR_VERSION = 21, 10  # the first opset with INT4
INPUT, OUTPUT = "images", "logits"
STORAGE_BITS = {"INT4": 4, "INT8": 8}
Array = npt.NDArray[Any]


def storage_type(bits: int) -> str:
    """The narrowest ONNX type for codes: INT4 for 2 to 4 bits (ONNX 21 has none below), INT8 above."""
    return "INT4" if bits <= STORAGE_BITS["INT4"] else "INT8"


def build_onnx(model: nn.Module, record: Mapping[str, Any], storage: str | None = None) -> bytes:
    """A model as the bytes of an ONNX file, opset 21.

    The graph takes normalised images [N, C, H, W] and gives logits [N, K], in FP32. A quantised weight is an
    initialiser of its codes and a DequantizeLinear node with its scale (one, or one an output channel). Batch norm
    stays a node of its own: folded into the weights it would need a scale for each channel.

    Args:
        model: The trained model: a chain of layers and residual blocks, in ``model.layers``.
        record: The run's record; kept as metadata under ``METADATA_KEY``.
        storage: ``INT4``, ``INT8`` or ``FP32`` for the weights of quantised layers, whose values are the same in
            all three; by default the narrowest type that each layer's bit width fits.

    Raises:
        ExportError: If the model has a layer, or a quantiser, that this graph cannot hold.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph(storage)
    layers = getattr(model, "layers", None)
    if not isinstance(layers, nn.Sequential):
        raise ExportError(f"cannot be written as ONNX: {type(model).__name__} is no chain of layers")
    _row(graph, layers)
    graph.nodes[-1].output[0] = OUTPUT
    content = helper.make_graph(
        graph.nodes,
        type(model).__name__,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", *recorded_shape(record)])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", record["data"]["classes"]])],
        graph.initializers,
    )
    proto = helper.make_model(content, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    about = {"record": {key: value for key, value in record.items() if key != "layers"}}
    helper.set_model_props(proto, {METADATA_KEY: json.dumps(about, separators=(",", ":"))})
    onnx.checker.check_model(proto, full_check=True)
    serialized: bytes = proto.SerializeToString(deterministic=True)
    return serialized


class _Graph:
    """Nodes and initialisers so far; each node takes what the one before it gave."""

    def __init__(self, storage: str | None) -> None:
        self.storage = storage
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.value = INPUT

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> None:
        """Append a node that takes the current value first."""
        self.value = self.node(operator, name, self.value, *inputs, **attributes)

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def constant(self, name: str, array: Array) -> str:
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, name: str, layer: QuantLayer) -> str:
        """The layer's weight: FP32, or codes and a node that dequantises them."""
        bias = layer.bias if layer.bias is not None else torch.zeros(layer.weight.shape[0])
        self.constant(f"{name}.bias", _array(bias))
        if layer.weight_quantizer is None or self.storage == "FP32":
            return self.constant(f"{name}.weight", _array(effective_weight(layer)))
        return self._quantized(name, layer, self.storage or storage_type(layer_bits(layer)))

    def _quantized(self, name: str, layer: QuantLayer, storage: str) -> str:
        from onnx import TensorProto, helper

        codes, scale = layer_codes(name, layer)
        per_channel = scale.numel() == len(codes) and scale.shape[:1] == codes.shape[:1]
        linear = scale.numel() == 1 or per_channel
        if not linear or not torch.equal(codes * scale, effective_weight(layer).detach().cpu()):
            raise ExportError(
                f"layer {name}: ONNX has codes times one scale a layer or channel, which are not the weights of "
                f"{type(layer.weight_quantizer).__name__}; export without --onnx, to safetensors alone"
            )
        check_range(name, codes, STORAGE_BITS[storage])
        packed = pack_codes(codes.contiguous().numpy(), STORAGE_BITS[storage])  # ONNX packs INT4 the same way
        kind = getattr(TensorProto, storage)
        raw = helper.make_tensor(f"{name}.codes", kind, list(codes.shape), packed.tobytes(), raw=True)
        self.initializers.append(raw)
        steps = self.constant(f"{name}.scale", scale.flatten().numpy() if per_channel else scale.reshape(()).numpy())
        return self.node("DequantizeLinear", f"{name}.dequantize", f"{name}.codes", steps, axis=0)


def _row(graph: _Graph, modules: nn.Sequential, prefix: str = "") -> None:
    """Modules one after the other."""
    for name, module in modules.named_children():
        if not isinstance(module, nn.Dropout):  # the identity outside of training
            _writer(prefix + name, module)(graph, prefix + name, module)


def _residual(graph: _Graph, name: str, block: Residual) -> None:
    """The block's row beside its shortcut, their sum and ReLU."""
    start = graph.value
    _row(graph, block, f"{name}.")
    row, graph.value = graph.value, start
    if block.stride > 1:
        slices = {"starts": [0, 0], "ends": [2**31 - 1] * 2, "axes": [2, 3], "steps": [block.stride] * 2}
        graph.add("Slice", f"{name}.subsample", *_whole_numbers(graph, f"{name}.subsample", slices))
    if any(block.zeros):
        before, after = block.zeros
        zeros = {"pads": [0, before, 0, 0, 0, after, 0, 0]}
        graph.add("Pad", f"{name}.zeros", *_whole_numbers(graph, f"{name}.zeros", zeros))
    graph.add("Add", f"{name}.sum", row)
    graph.add("Relu", f"{name}.relu")


def _whole_numbers(graph: _Graph, name: str, lists: Mapping[str, list[int]]) -> list[str]:
    return [graph.constant(f"{name}.{key}", np.array(values, dtype=np.int64)) for key, values in lists.items()]


def _global_mean(graph: _Graph, name: str, layer: nn.AdaptiveAvgPool2d) -> None:
    if layer.output_size not in (1, (1, 1)):
        raise ExportError(f"layer {name}: a mean over parts of the map is not written as ONNX")
    graph.add("GlobalAveragePool", name)


def _conv(graph: _Graph, name: str, layer: QuantConv2d) -> None:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ExportError(f"layer {name}: padding {layer.padding_mode} {layer.padding} is not written as ONNX")
    graph.add(
        "Conv", name, graph.weight(name, layer), f"{name}.bias",
        kernel_shape=list(layer.kernel_size), pads=list(layer.padding) * 2, strides=list(layer.stride),
        dilations=list(layer.dilation), group=layer.groups,
    )  # fmt: skip


def _linear(graph: _Graph, name: str, layer: QuantLinear) -> None:
    graph.add("Gemm", name, graph.weight(name, layer), f"{name}.bias", transB=1)


def _batch_norm(graph: _Graph, name: str, layer: nn.BatchNorm2d | nn.BatchNorm1d) -> None:
    tensors = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    keys = ("weight", "bias", "mean", "variance")
    inputs = [graph.constant(f"{name}.{key}", _array(tensor)) for key, tensor in zip(keys, tensors, strict=True)]
    graph.add("BatchNormalization", name, *inputs, epsilon=layer.eps)


def _max_pool(graph: _Graph, name: str, layer: nn.MaxPool2d) -> None:
    size, stride = _pair(layer.kernel_size), _pair(layer.stride)
    graph.add("MaxPool", name, kernel_shape=size, strides=stride, pads=_pair(layer.padding) * 2)


def _relu(graph: _Graph, name: str, layer: nn.ReLU) -> None:
    graph.add("Relu", name)


def _flatten(graph: _Graph, name: str, layer: nn.Flatten) -> None:
    graph.add("Flatten", name, axis=layer.start_dim)


WRITERS: Mapping[type[nn.Module], Callable[[_Graph, str, Any], None]] = {
    Residual: _residual,
    QuantConv2d: _conv,
    QuantLinear: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.MaxPool2d: _max_pool,
    nn.AdaptiveAvgPool2d: _global_mean,
    nn.ReLU: _relu,
    nn.Flatten: _flatten,
}


def _writer(name: str, module: nn.Module) -> Callable[[_Graph, str, Any], None]:
    if getattr(module, "input_quantizer", None) is not None:
        raise ExportError(f"layer {name}: quantised activations are not written as ONNX; export without --onnx")
    for kind, writer in WRITERS.items():
        if isinstance(module, kind):
            return writer
    raise ExportError(f"layer {name}: {type(module).__name__} is not written as ONNX")


def _pair(size: int | tuple[int, ...]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


def _array(tensor: Tensor | None) -> Array:
    assert tensor is not None
    array: Array = tensor.detach().cpu().numpy()
    return array
