"""Real 4-bit files: one safetensors or ONNX file a trained run, read back, evaluated and timed."""

from repro.export.evaluate import Evaluation, evaluate_file
from repro.export.integer import build_integer
from repro.export.onnx_export import build_onnx
from repro.export.packed import ExportError, PackedModel, load_packed, pack_model
from repro.export.run import export_run

__all__ = [
    "Evaluation",
    "ExportError",
    "PackedModel",
    "build_integer",
    "build_onnx",
    "evaluate_file",
    "export_run",
    "load_packed",
    "pack_model",
]
