"""Where a run computes, and in which arithmetic."""

import contextlib
import ctypes
import os
from functools import cache
from typing import Any

import torch

from repro.errors import ReproError


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA where there is one.

    Raises:
        ReproError: If ``cuda`` is asked for and absent, or the name is unknown.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise ReproError(f"unknown device {name!r}; allowed: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ReproError("device cuda was asked for, but torch sees none; use --device cpu or auto")
    return torch.device(name)


def set_arithmetic(device: torch.device, threads: int, precision: str) -> None:
    """Fix what changes bits: threads on a CPU, algorithms on a GPU.

    Raises:
        ReproError: If the device has no such precision.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ReproError("precision tf32 is a GPU's; on a CPU use fp32 or bf16")
    torch.set_num_threads(threads)
    if device.type == "cpu":
        _keep_memory()
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        # else every empty tensor is written once more
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    set_matmul_precision(device, precision)


def set_matmul_precision(device: torch.device, precision: str) -> None:
    """Allow TF32 on a GPU for ``tf32`` alone: FP32 stays FP32. The switch is the process's, so each step sets it."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def own_stream(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A stream of the caller's own, so that several runs overlap on one GPU; nothing on a CPU."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]


ARENA_BYTES = 1_900 * 2**20  # above what a step of the paper's model holds, below the trim threshold's limit
HUGE_PAGE_BYTES = 2**21


@cache
def _keep_memory() -> None:
    """Tell glibc to keep freed memory, and the kernel to back it with huge pages.

    A step's tensors of some 30 MB would else be given back and faulted in again, 4 KiB at a time. Changes no
    number; huge pages are worth 2 to 6 % of a step on 2 cores (benchmarks/README.md). Other C libraries
    and kernels have no such calls; then everything stays as it was.
    """
    trim_threshold, mmap_max, advise_huge_pages = -1, -4, 14  # malloc.h, madvise(2)
    try:
        libc = ctypes.CDLL(None)
        mallopt, madvise = libc.mallopt, libc.madvise
    except (AttributeError, OSError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    libc.malloc.argtypes, libc.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
    libc.free.argtypes = (ctypes.c_void_p,)
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    start = libc.malloc(ARENA_BYTES)  # address space alone: nothing is touched, so nothing is used
    if start:
        first = -(-start // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
        whole = (start + ARENA_BYTES - first) // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
        madvise(first, whole, advise_huge_pages)
        libc.free(start)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 autocast for ``bf16``, none for ``fp32``."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def device_name(device: torch.device) -> str:
    """The GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
