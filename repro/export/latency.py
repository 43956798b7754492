"""Seconds a forward pass: PyTorch, and onnxruntime with weights stored as FP32, INT8 and INT4, and in integers."""

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from repro.export.evaluate import CPU, model_logits, onnx_session, session_logits
from repro.export.onnx_export import build_onnx
from repro.export.packed import ExportError, quantized_layers, recorded_shape
from repro.quant import effective_weight
from repro.records.export import BATCHES, VARIANTS
from repro.train.device import set_arithmetic

ROUNDS = 5
BLOCK_SECONDS = 0.1  # a variant runs at least so long in each round
Call = Callable[[torch.Tensor], Any]


def measure_latency(
    model: nn.Module, record: Mapping[str, Any], threads: int, integer: bytes | None = None, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Time one network in each of ``VARIANTS``, by batch.

    All variants but the last compute the same function: they differ in who runs it and in how the weights are stored
    (INT8: the same codes, a byte each). PyTorch has its FP32 weights ready, without a quantiser. The last has 8-bit
    activations too. Variants take turns, in alternating order, so that a machine whose speed drifts hurts all alike.

    Args:
        model: The model; without quantised layers, or with codes too wide for it, an integer variant is left out.
        record: Its record, for the ONNX files.
        threads: CPU threads of each.
        integer: The file of ``build_integer``, where there is one.
        rounds: Rounds, each of at least ``BLOCK_SECONDS`` a variant.

    Returns:
        ``threads``, ``rounds`` and ``seconds``: variant to batch (as text) to seconds a call, one a round.
    """
    set_arithmetic(CPU, threads, "fp32")
    calls = _variants(model, record, threads, integer)
    seconds: dict[str, dict[str, list[float]]] = {name: {str(batch): [] for batch in BATCHES} for name in calls}
    for batch in BATCHES:
        images = torch.randn(batch, *recorded_shape(record)).to(memory_format=torch.channels_last)
        for call in calls.values():
            call(images)
        for index in range(rounds):
            for name in list(calls)[:: 1 if index % 2 == 0 else -1]:
                seconds[name][str(batch)].append(_seconds_a_call(calls[name], images))
    return {"threads": threads, "rounds": rounds, "seconds": seconds}


def _variants(model: nn.Module, record: Mapping[str, Any], threads: int, integer: bytes | None) -> dict[str, Call]:
    plain = copy.deepcopy(model).eval()
    for layer in quantized_layers(plain).values():
        layer.weight.data = effective_weight(layer).detach()
        layer.weight_quantizer = None
    calls = {VARIANTS[0]: model_logits(plain, "fp32")}
    for name, storage in zip(VARIANTS[1:4], ("FP32", "INT8", "INT4"), strict=True):
        if storage != "FP32" and not quantized_layers(model):
            continue
        try:
            content = build_onnx(model, record, storage)
        except ExportError:
            if storage == "FP32":
                raise
            continue  # 8-bit codes fit no INT4
        calls[name] = session_logits(onnx_session(content, threads))
    if integer is not None:
        calls[VARIANTS[4]] = session_logits(onnx_session(integer, threads))
    return calls


def _seconds_a_call(call: Call, images: torch.Tensor) -> float:
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < BLOCK_SECONDS or not calls:
        call(images)
        calls += 1
    return float(f"{elapsed / calls:.4g}")
