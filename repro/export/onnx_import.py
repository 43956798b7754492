"""An ONNX file read again: only what export writes is given to onnxruntime, which trusts whatever it gets."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.export.packed import METADATA_KEY, ExportError, complete_record
from repro.records.files import read_regular
from repro.records.integrity import STAMP, DamagedError, check_stamp
from repro.text import printable, shown

OPERATORS = frozenset(
    {"Add", "BatchNormalization", "Cast", "Conv", "DequantizeLinear", "Flatten", "Gemm", "GlobalAveragePool", "MaxPool",
     "Pad", "QuantizeLinear", "Relu", "Slice"}
)  # fmt: skip
WIDEST = 64  # pixels that a node may add to a side, and sides of its window


def read_onnx(path: Path) -> tuple[bytes, Mapping[str, Any], str]:
    """An ONNX file's bytes, the record in its metadata, and its arithmetic: ``fp32`` or ``int8``.

    Raises:
        ExportError: If it cannot be read, is damaged, or is not a file of this suite.
    """
    from onnx import load_model_from_string

    try:
        content = read_regular(path)
        model = load_model_from_string(content)
        metadata = json.loads({each.key: each.value for each in model.metadata_props}.get(METADATA_KEY, "{}"))
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # protobuf's errors share no base that has types
        raise ExportError(f"{path}: not a usable ONNX file ({printable(error)})") from None
    if not isinstance(metadata, dict) or "record" not in metadata:
        raise ExportError(f"{path}: an ONNX file, but not one that `python -m repro export` wrote")
    try:
        if "stamp" in metadata or STAMP.encode() in content:  # files from before there were stamps have neither
            check_stamp(content)
        _check_graph(model.graph, len(model.functions))
        return content, complete_record(metadata["record"]), str(metadata.get("arithmetic", "fp32"))
    except DamagedError as error:
        raise ExportError(f"{path}: {error}; export the run again") from None


def _check_graph(graph: Any, functions: int) -> None:
    """Hold a graph against what export writes.

    Raises:
        DamagedError: If it has any other operator, data outside of the file, or a size that nothing here has.
    """
    others = sorted({node.op_type for node in graph.node if node.op_type not in OPERATORS or node.domain})
    if others or functions:
        raise DamagedError(f"not a graph that this suite writes (operators {shown(others)})")
    wide = [node.name for node in graph.node for each in node.attribute if max(map(abs, each.ints), default=0) > WIDEST]
    pads = {node.input[1] for node in graph.node if node.op_type == "Pad" and len(node.input) > 1}
    for tensor in graph.initializer:
        if tensor.external_data:
            raise DamagedError(f"its {printable(tensor.name)} lies outside of the file")
        if tensor.name in pads:
            wide += [tensor.name for value in _whole_numbers(tensor) if abs(value) > WIDEST]
    if wide:
        raise DamagedError(f"not a graph that this suite writes (sizes of {shown(wide)})")


def _whole_numbers(tensor: Any) -> list[int]:
    from onnx import numpy_helper

    try:
        return [int(value) for value in numpy_helper.to_array(tensor).ravel()]
    except (ValueError, TypeError) as error:
        raise DamagedError(f"its {printable(tensor.name)} is damaged ({printable(error)})") from None
