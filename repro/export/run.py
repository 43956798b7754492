"""From a finished run's folder to its real files, and what was measured of them."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repro.config import Run
from repro.data import ImageData
from repro.errors import ReproError
from repro.export.evaluate import (
    CPU,
    model_logits,
    onnx_session,
    predict,
    record_threads,
    recorded_data,
    score,
    session_logits,
    session_operators,
)
from repro.export.integer import build_integer
from repro.export.latency import measure_latency
from repro.export.onnx_export import OPSET, build_onnx, storage_type
from repro.export.packed import ExportError, layer_bits, load_packed, pack_model, payload_bytes, quantized_layers
from repro.ptq.restore import attach_stored
from repro.records import Export, Record, atomic_write, read_record, write_export
from repro.records.environment import describe_environment
from repro.train.build import build_model
from repro.train.device import set_arithmetic
from repro.train.kept import kept_weights, train_command
from repro.train.post_training import calibration_images

PACKED_NAME, ONNX_NAME, INTEGER_NAME = "model.safetensors", "model.onnx", "model-int8.onnx"

logger = logging.getLogger(__name__)


def export_run(run: Run, results: Path, onnx: bool) -> Export:
    """Write a run's files, read them back, measure them, and write ``export.json`` beside the record.

    Args:
        run: Which run; it must have ended, and its weights must be there.
        results: Folder of the records.
        onnx: Write ONNX files too, one that computes in FP32 and one in integers, and time all.

    Raises:
        ReproError: If the run or its weights are not there, or its method cannot be exported.
    """
    directory = run.directory(results)
    record = finished_record(run, results)
    about = dataclasses.asdict(record)
    model = load_trained(run, results, record.data["classes"])
    data = recorded_data(about)
    threads = record_threads(about)
    set_arithmetic(CPU, threads, "fp32")

    content = pack_model(model, about)
    proto = build_onnx(model, about) if onnx else None  # a refusal leaves nothing half done
    atomic_write(directory / PACKED_NAME, content)
    packed, fp32_logits = _measure_packed(directory / PACKED_NAME, model, data, content)
    onnx_part = integer_part = latency = None
    if proto is not None:
        atomic_write(directory / ONNX_NAME, proto)
        onnx_part = _measure_onnx(proto, model, data, threads, fp32_logits)
        integer, integer_part = _integer_form(model, about, data, threads, fp32_logits)
        if integer is not None:
            atomic_write(directory / INTEGER_NAME, integer)
        latency = measure_latency(model, about, threads, integer)
    export = Export(
        spec_hash=run.spec_hash,
        seed=run.seed,
        packed=packed,
        onnx=onnx_part,
        integer=integer_part,
        latency=latency,
        environment={**describe_environment(), **_versions(onnx), "torch_threads": threads},
    )
    write_export(directory, export)
    return export


def load_trained(run: Run, results: Path, classes: int) -> nn.Module:
    """The trained model of a finished run, in evaluation mode, channels last, as it was evaluated.

    Raises:
        ReproError: If its weights are not there, damaged, or of another model.
    """
    state, path = kept_weights(run, results), run.weights_path(results)
    model = build_model(run.spec, classes)
    try:
        if run.spec["ptq"]["name"] == "none":
            model.load_state_dict(state)
        else:
            attach_stored(model, state, run.spec["ptq"]["bit_width"])
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ReproError(f"{path}: not the weights of this run's model ({reason}); train it again") from None
    model.to(memory_format=torch.channels_last)
    return model.eval()


def finished_record(run: Run, results: Path) -> Record:
    """The record of a run that has ended.

    Raises:
        ReproError: If it has not.
    """
    path = run.record_path(results)
    if not path.exists():
        raise ReproError(f"{path}: no such run yet; `{train_command(run)}` trains it")
    return read_record(path)


def _measure_packed(path: Path, model: nn.Module, data: ImageData, content: bytes) -> tuple[dict[str, Any], Tensor]:
    """Sizes, accuracy in the record's precision and in FP32, and how far logits are from the trained model's."""
    packed = load_packed(path)
    precision = packed.record["spec"]["precision"]
    trained = predict(model_logits(model, precision), data, batches=1)
    predictions = {name: predict(model_logits(packed.model, name), data) for name in dict.fromkeys((precision, "fp32"))}
    difference = _relative_difference(predictions[precision][: len(trained)], trained)
    if difference != 0:
        raise ExportError(f"{path}: its logits differ from the trained model's by {difference:.1e} of the largest")
    (accuracy, loss), (fp32_accuracy, fp32_loss) = score(predictions[precision], data), score(predictions["fp32"], data)
    payload = payload_bytes(content)
    part = {
        "bytes": len(content), "payload_bytes": payload, "metadata_bytes": len(content) - payload,
        "precision": precision, "test_images": len(data.test.labels), "test_accuracy": accuracy, "test_loss": loss,
        "fp32_test_accuracy": fp32_accuracy, "fp32_test_loss": fp32_loss,
        "logit_difference": difference, "compared_images": len(trained),
    }  # fmt: skip
    return part, predictions["fp32"]


def _measure_onnx(proto: bytes, model: nn.Module, data: ImageData, threads: int, reference: Tensor) -> dict[str, Any]:
    """Size, weight types, accuracy, and the largest difference to PyTorch's FP32 logits over the largest of these."""
    predictions = predict(session_logits(onnx_session(proto, threads)), data)
    accuracy, loss = score(predictions, data)
    kinds = {storage_type(layer_bits(layer)) for layer in quantized_layers(model).values()}
    return {
        "bytes": len(proto), "opset": OPSET, "weights": sorted(kinds) or ["FP32"],
        "test_accuracy": accuracy, "test_loss": loss, "logit_difference": _relative_difference(predictions, reference),
    }  # fmt: skip


def _integer_form(
    model: nn.Module, record: Mapping[str, Any], data: ImageData, threads: int, reference: Tensor
) -> tuple[bytes | None, dict[str, Any] | None]:
    """The file that computes in integers and what was measured of it; nothing, and a line why, where it cannot be."""
    images = calibration_images(data, record["seed"], CPU)
    try:
        storages = [storage_type(max(map(layer_bits, quantized_layers(model).values()), default=8)), "INT8"]
        for storage in dict.fromkeys(storages):  # an onnxruntime that does not see through INT4 gets a byte a code
            content = build_integer(model, record, images, storage)
            operators = session_operators(content)
            if not {"Conv", "Gemm", "MatMul"} & set(operators):
                break
    except ExportError as error:
        logger.info("no integer form: %s", error)
        return None, None
    return content, {
        **_measure_onnx(content, model, data, threads, reference),
        "weights": [storage], "activations": "UINT8", "calibration_images": len(images), "operators": operators,
    }  # fmt: skip


def _relative_difference(logits: Tensor, reference: Tensor) -> float:
    """Largest difference over the largest magnitude of ``reference``."""
    return float((logits - reference).abs().max() / reference.abs().max())


def _versions(onnx: bool) -> dict[str, str]:
    versions = {"torch": str(torch.__version__)}
    if onnx:
        import onnxruntime

        versions["onnxruntime"] = onnxruntime.__version__
    return versions
