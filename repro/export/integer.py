"""A trained model as an ONNX file that computes in integers: its codes as weights, activations in 8 bits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repro.export.onnx_export import (
    Array,
    Graph,
    array,
    bias_of,
    chain,
    conv_attributes,
    linear_codes,
    norm_arrays,
    pool_attributes,
    refuse_quantized_inputs,
)
from repro.export.packed import ExportError
from repro.ptq.calibration import visit_inputs
from repro.quant import QuantConv2d, QuantLayer, QuantLinear

LARGEST_ACTIVATION = 255  # unsigned 8 bits
# A processor without VNNI adds two products in 16 bits with a sign (vpmaddubsw) and cuts off what does not fit.
# 2 * 255 * 64 = 32,640 fits, and 4-bit codes reach 2 * 255 * 7 = 3,570.
LARGEST_CODE = 64
LARGEST_BIAS = 2**30  # half of 32 bits, so that the sum of products has the other half
SMALLEST_SCALE = 1e-30  # times an activation's step it is still no subnormal number


@dataclass
class _Stage:
    """A convolution or linear layer with what follows it up to the next, and its name."""

    name: str
    layer: QuantLayer
    flatten: nn.Flatten | None = None  # before the layer
    norm: nn.BatchNorm2d | nn.BatchNorm1d | None = None
    pool: nn.MaxPool2d | None = None
    relu: bool = False


def build_integer(model: nn.Module, record: Mapping[str, Any], images: Tensor, storage: str = "INT4") -> bytes:
    """A model as the bytes of an ONNX file, opset 21, whose layers onnxruntime computes in integers.

    Batch norm is folded: its factor of each channel goes into the scale of the channel's weights, so that the codes
    stay what they are (where it is negative their sign turns). Activations are unsigned: after ReLU from 0 to the
    largest value that ``images`` lead to, the input from its least to its largest; ReLU is what is cut off below
    code 0. Each layer stands between DequantizeLinear and QuantizeLinear, the pattern that onnxruntime fuses to
    QLinearConv and QGemm; pooling takes codes. Images [N, C, H, W] come normalised, logits [N, K] go, in FP32.

    Args:
        model: The trained model: a chain of layers, in ``model.layers``.
        record: The run's record; kept as metadata.
        images: Calibration images [N, C, H, W], normalised.
        storage: ``INT4`` or ``INT8`` for the codes. onnxruntime casts INT4 to INT8 once, when it loads the file.

    Raises:
        ExportError: If a layer has no codes, or codes above ``LARGEST_CODE``, or the graph cannot hold the model.
    """
    stages, graph = _stages(model), Graph()
    ranges = _input_ranges(model, images)
    boundaries = [_steps(graph, stage.name, *ranges[stage.layer], first=stage is stages[0]) for stage in stages]
    graph.add("QuantizeLinear", "images.quantize", *boundaries[0][:2])
    for stage, (scale, zero, step), following in zip(stages, boundaries, [*boundaries[1:], None], strict=True):
        if stage.flatten is not None:
            graph.add("Flatten", f"{stage.name}.flatten", axis=stage.flatten.start_dim)
        graph.add("DequantizeLinear", f"{stage.name}.input", scale, zero)
        weight, bias = _weight(graph, stage, step, storage)
        if isinstance(stage.layer, QuantConv2d):
            graph.add("Conv", stage.name, weight, bias, **conv_attributes(stage.name, stage.layer))
        else:
            graph.add("Gemm", stage.name, weight, bias, transB=1)
        if following is not None:
            graph.add("QuantizeLinear", f"{stage.name}.output", *following[:2])
        if stage.pool is not None:
            graph.add("MaxPool", f"{stage.name}.pool", **pool_attributes(stage.pool))
    return graph.serialize(model, record, arithmetic="int8")


def _stages(model: nn.Module) -> list[_Stage]:
    stages: list[_Stage] = []
    flatten: nn.Flatten | None = None
    for name, module in chain(model):
        refuse_quantized_inputs(name, module)
        last = stages[-1] if stages else None
        if isinstance(module, QuantConv2d | QuantLinear):
            if module.weight_quantizer is None:
                raise ExportError(f"layer {name}: its weights have no codes, so that it cannot compute in integers")
            stages.append(_Stage(name, module, flatten))
            flatten = None
        elif isinstance(module, nn.Flatten):
            flatten = module
        elif last and isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) and not (last.norm or last.pool or last.relu):
            last.norm = module
        elif last and isinstance(module, nn.MaxPool2d) and not last.pool:
            last.pool = module  # before or after ReLU: the same
        elif last and isinstance(module, nn.ReLU):
            last.relu = True
        else:
            raise ExportError(f"layer {name}: {type(module).__name__} has no place in an integer graph here")
    if [stage.relu for stage in stages] != [True] * (len(stages) - 1) + [False]:
        raise ExportError("an integer graph needs ReLU after each layer but the last")
    return stages


def _input_ranges(model: nn.Module, images: Tensor) -> dict[QuantLayer, tuple[float, float]]:
    """Least and largest input of each layer."""
    ranges: dict[QuantLayer, tuple[float, float]] = {}

    def visit(layer: QuantLayer, inputs: Tensor) -> None:
        ranges[layer] = (inputs.min().item(), inputs.max().item())

    visit_inputs(model, images, visit)
    if not np.isfinite(list(ranges.values())).all():
        raise ExportError("its activations are no numbers: a diverged run has nothing to export")
    return ranges


def _steps(graph: Graph, name: str, low: float, high: float, first: bool) -> tuple[str, str, float]:
    """Scale and zero point of a layer's input, as names and, the scale, as a number; 0 is a code."""
    low, high = (min(low, 0.0), max(high, 0.0)) if first else (0.0, high)
    step = np.float32((high - low) / LARGEST_ACTIVATION or 1.0)
    zero = graph.constant(f"{name}.input_zero", np.array(round(-low / step), dtype=np.uint8))
    return graph.constant(f"{name}.input_scale", np.array(step)), zero, float(step)


def _weight(graph: Graph, stage: _Stage, input_step: float, storage: str) -> tuple[str, str]:
    """The dequantised weight and bias of a layer with its batch norm folded in."""
    name = stage.name
    codes, scale, bias = _fold(stage)
    if int(codes.abs().max()) > LARGEST_CODE:
        raise ExportError(f"layer {name}: codes above {LARGEST_CODE} overflow the integer sums of some processors")
    # A channel that batch norm all but switched off keeps its bias alone, which no multiple of so small a step could be
    least = np.maximum(np.abs(bias) / (LARGEST_BIAS * input_step), SMALLEST_SCALE)
    codes[torch.from_numpy(scale < least)] = 0
    scale = np.maximum(scale, least).astype(np.float32)
    stored = graph.codes(name, codes, storage)
    if storage == "INT4":
        from onnx import TensorProto

        stored = graph.node("Cast", f"{name}.cast", stored, to=TensorProto.INT8)
    steps = graph.constant(f"{name}.scale", scale)
    zeros = graph.constant(f"{name}.zero", np.zeros(len(codes), dtype=np.int8))  # Gemm is fused only if it is there
    weight = graph.node("DequantizeLinear", f"{name}.weight", stored, steps, zeros, axis=0)
    products = scale * np.float32(input_step)  # the scale of the integer sums, and so of the bias in them
    bias_codes = graph.constant(f"{name}.bias_codes", np.rint(bias / products).astype(np.int32))
    bias_steps = graph.constant(f"{name}.bias_scale", products)
    return weight, graph.node("DequantizeLinear", f"{name}.bias", bias_codes, bias_steps, axis=0)


def _fold(stage: _Stage) -> tuple[Tensor, Array, Array]:
    """Codes int8 [O, ...], scale [O] and bias [O] in float64 of a layer followed by its batch norm."""
    codes, scale = linear_codes(stage.name, stage.layer)
    channels, bias = len(codes), bias_of(stage.layer).astype(np.float64)
    steps = np.broadcast_to(array(scale).astype(np.float64), channels).copy()
    if stage.norm is not None:
        norm = {key: values.astype(np.float64) for key, values in norm_arrays(stage.norm).items()}
        factor = norm["weight"] / np.sqrt(norm["variance"] + stage.norm.eps)
        bias = (bias - norm["mean"]) * factor + norm["bias"]
        sign = torch.from_numpy(np.where(factor < 0, -1, 1).astype(np.int8))
        codes = codes * sign.reshape(-1, *[1] * (codes.dim() - 1))
        steps *= np.abs(factor)
    return codes.clone(), steps, bias
