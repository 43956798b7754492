"""Calls of the C kernels with tensors."""

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from repro.kernels.library import library

MAX_THREADS = 64  # common.h
SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16"}  # of the kernels that exist for both element types


def call_kernel(name: str, *arguments: Tensor | int | float | None) -> None:
    """Call a C function with torch's number of threads as its last argument.

    Args:
        name: Without the suffix of the element type, where it has one: then the first tensor's decides.
        *arguments: Tensors go as pointers, integers as ``long``, numbers as ``float``, ``None`` as NULL.

    Raises:
        MemoryError: If the kernel could not have its workspace.
    """
    loaded = library()
    assert loaded is not None
    threads = min(torch.get_num_threads(), MAX_THREADS)
    function: Callable[..., int] = getattr(loaded, name)
    if function(*map(_argument, arguments), ctypes.c_int(threads)):
        raise MemoryError(f"{name}: no memory for its workspace")


def floats(*shape: int) -> Tensor:
    """Memory for a kernel's FP32 results, whatever the default dtype and device are."""
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def of_type(name: str, tensor: Tensor) -> str:
    """The kernel ``name`` for ``tensor``'s elements."""
    return f"{name}_{SUFFIX[tensor.dtype]}"


def _argument(value: Tensor | int | float | None) -> Any:
    if isinstance(value, torch.Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, float):
        return ctypes.c_float(value)
    return None if value is None else ctypes.c_long(value)


def serves_elementwise(tensor: Tensor) -> bool:
    """Whether a kernel can go through its FP32 elements in the order of memory, on a CPU."""
    return (
        tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and (tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)))
        and not torch.compiler.is_compiling()
        and library() is not None
    )
