"""A trained model as an ONNX file whose weights stay INT4 or INT8 behind DequantizeLinear."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from repro.export.bits import pack_codes
from repro.export.packed import METADATA_KEY, ExportError, check_range, layer_bits, layer_codes, recorded_shape
from repro.models.resnet import Residual
from repro.quant import QuantConv2d, QuantLayer, QuantLinear, effective_weight
from repro.records.integrity import NO_STAMP, stamped

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
    graph = Graph()
    for name, module in chain(model):
        _writer(name, module)(graph, name, module, storage)
    return graph.serialize(model, record)


def chain(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers by name in forward order, without what is the identity outside of training.

    Raises:
        ExportError: If the model is no chain of layers in ``model.layers``.
    """
    layers = getattr(model, "layers", None)
    if not isinstance(layers, nn.Sequential):
        raise ExportError(f"cannot be written as ONNX: {type(model).__name__} is no chain of layers")
    return [*_named(layers)]


def _named(row: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """A row's modules by their whole name, without what is the identity outside of training."""
    for name, module in row.named_children():
        if not isinstance(module, nn.Dropout):
            yield prefix + name, module


class Graph:
    """Nodes and initialisers so far; each node takes what the one before it gave."""

    def __init__(self) -> None:
        """Empty; the current value is the images."""
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.value = INPUT

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> None:
        """Append a node that takes the current value first."""
        self.value = self.node(operator, name, self.value, *inputs, **attributes)

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; the name of what it gives."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def constant(self, name: str, array: Array) -> str:
        """Add an initialiser; its name."""
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def codes(self, name: str, codes: Tensor, storage: str) -> str:
        """Add int8 codes as an initialiser of type ``storage``; its name.

        Raises:
            ExportError: If they do not fit.
        """
        from onnx import TensorProto, helper

        check_range(name, codes, STORAGE_BITS[storage])
        packed = pack_codes(codes.contiguous().numpy(), STORAGE_BITS[storage])  # ONNX packs INT4 the same way
        kind = getattr(TensorProto, storage)
        self.initializers.append(
            helper.make_tensor(f"{name}.codes", kind, list(codes.shape), packed.tobytes(), raw=True)
        )
        return f"{name}.codes"

    def serialize(self, model: nn.Module, record: Mapping[str, Any], **about: Any) -> bytes:
        """The whole file.

        Args:
            model: Whose class names the graph.
            record: The run's record; with ``about`` it becomes the metadata.
            about: What else the metadata say.
        """
        import onnx
        from onnx import TensorProto, helper

        self.nodes[-1].output[0] = OUTPUT
        content = helper.make_graph(
            self.nodes,
            type(model).__name__,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", *recorded_shape(record)])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", record["data"]["classes"]])],
            self.initializers,
        )
        proto = helper.make_model(content, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        kept = {key: value for key, value in record.items() if key != "layers"}
        metadata = {"stamp": NO_STAMP, "record": kept, **about}
        helper.set_model_props(proto, {METADATA_KEY: json.dumps(metadata, separators=(",", ":"))})
        onnx.checker.check_model(proto, full_check=True)
        serialized: bytes = proto.SerializeToString(deterministic=True)
        return stamped(serialized)


def linear_codes(name: str, layer: QuantLayer) -> tuple[Tensor, Tensor]:
    """A layer's int8 codes, and its scale: one, or one an output channel.

    Raises:
        ExportError: If codes times scale are not its weights.
    """
    codes, scale = layer_codes(name, layer)
    per_channel = scale.numel() == len(codes) and scale.shape[:1] == codes.shape[:1]
    linear = scale.numel() == 1 or per_channel
    if not linear or not torch.equal(codes * scale, effective_weight(layer).detach().cpu()):
        raise ExportError(
            f"layer {name}: ONNX has codes times one scale a layer or channel, which are not the weights of "
            f"{type(layer.weight_quantizer).__name__}; export without --onnx, to safetensors alone"
        )
    return codes, scale.flatten() if per_channel else scale.reshape(())


def _weight(graph: Graph, name: str, layer: QuantLayer, storage: str | None) -> tuple[str, str]:
    """The layer's weight, as FP32 or as codes and a node that dequantises them, and its bias."""
    bias = graph.constant(f"{name}.bias", bias_of(layer))
    if layer.weight_quantizer is None or storage == "FP32":
        return graph.constant(f"{name}.weight", array(effective_weight(layer))), bias
    codes, scale = linear_codes(name, layer)
    stored = graph.codes(name, codes, storage or storage_type(layer_bits(layer)))
    steps = graph.constant(f"{name}.scale", array(scale))
    return graph.node("DequantizeLinear", f"{name}.dequantize", stored, steps, axis=0), bias


def conv_attributes(name: str, layer: QuantConv2d) -> dict[str, Any]:
    """A convolution's attributes in ONNX.

    Raises:
        ExportError: If it pads in another way than with zeros.
    """
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ExportError(f"layer {name}: padding {layer.padding_mode} {layer.padding} is not written as ONNX")
    return {
        "kernel_shape": list(layer.kernel_size), "pads": list(layer.padding) * 2, "strides": list(layer.stride),
        "dilations": list(layer.dilation), "group": layer.groups,
    }  # fmt: skip


def pool_attributes(layer: nn.MaxPool2d) -> dict[str, Any]:
    """A max-pooling's attributes in ONNX."""
    size, stride, padding = (
        [n, n] if isinstance(n, int) else list(n) for n in (layer.kernel_size, layer.stride, layer.padding)
    )
    return {"kernel_shape": size, "strides": stride, "pads": padding * 2}


def norm_arrays(layer: nn.BatchNorm2d | nn.BatchNorm1d) -> dict[str, Array]:
    """Batch norm's weight, bias, mean and variance, each [C]."""
    tensors = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
    return {key: array(tensor) for key, tensor in zip(("weight", "bias", "mean", "variance"), tensors, strict=True)}


def _conv(graph: Graph, name: str, layer: QuantConv2d, storage: str | None) -> None:
    graph.add("Conv", name, *_weight(graph, name, layer, storage), **conv_attributes(name, layer))


def _linear(graph: Graph, name: str, layer: QuantLinear, storage: str | None) -> None:
    graph.add("Gemm", name, *_weight(graph, name, layer, storage), transB=1)


def _batch_norm(graph: Graph, name: str, layer: nn.BatchNorm2d | nn.BatchNorm1d, storage: str | None) -> None:
    inputs = [graph.constant(f"{name}.{key}", values) for key, values in norm_arrays(layer).items()]
    graph.add("BatchNormalization", name, *inputs, epsilon=layer.eps)


def _max_pool(graph: Graph, name: str, layer: nn.MaxPool2d, storage: str | None) -> None:
    graph.add("MaxPool", name, **pool_attributes(layer))


def _relu(graph: Graph, name: str, layer: nn.ReLU, storage: str | None) -> None:
    graph.add("Relu", name)


def _flatten(graph: Graph, name: str, layer: nn.Flatten, storage: str | None) -> None:
    graph.add("Flatten", name, axis=layer.start_dim)


def _residual(graph: Graph, name: str, block: Residual, storage: str | None) -> None:
    """The block's row beside its shortcut, their sum and ReLU."""
    start = graph.value
    for inner, module in _named(block, f"{name}."):
        _writer(inner, module)(graph, inner, module, storage)
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


def _whole_numbers(graph: Graph, name: str, lists: Mapping[str, list[int]]) -> list[str]:
    return [graph.constant(f"{name}.{key}", np.array(values, dtype=np.int64)) for key, values in lists.items()]


def _global_mean(graph: Graph, name: str, layer: nn.AdaptiveAvgPool2d, storage: str | None) -> None:
    if layer.output_size not in (1, (1, 1)):
        raise ExportError(f"layer {name}: a mean over parts of the map is not written as ONNX")
    graph.add("GlobalAveragePool", name)


WRITERS: Mapping[type[nn.Module], Callable[[Graph, str, Any, str | None], None]] = {
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


def _writer(name: str, module: nn.Module) -> Callable[[Graph, str, Any, str | None], None]:
    refuse_quantized_inputs(name, module)
    for kind, writer in WRITERS.items():
        if isinstance(module, kind):
            return writer
    raise ExportError(f"layer {name}: {type(module).__name__} is not written as ONNX")


def refuse_quantized_inputs(name: str, module: nn.Module) -> None:
    """Raise ``ExportError`` for a layer whose input its run quantised."""
    if getattr(module, "input_quantizer", None) is not None:
        raise ExportError(f"layer {name}: quantised activations are not written as ONNX; export without --onnx")


def bias_of(layer: QuantLayer) -> Array:
    """A layer's bias [O], zeros where it has none."""
    return array(layer.bias if layer.bias is not None else torch.zeros(layer.weight.shape[0]))


def array(tensor: Tensor | None) -> Array:
    """A tensor's values on the CPU."""
    assert tensor is not None
    values: Array = tensor.detach().cpu().numpy()
    return values
