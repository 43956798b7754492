"""Where a run computes, and in which arithmetic."""

import ctypes
import os

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


def set_arithmetic(device: torch.device, threads: int) -> None:
    """Fix what changes bits: threads on a CPU, algorithms on a GPU; FP32 stays FP32 (no TF32)."""
    torch.set_num_threads(threads)
    if device.type == "cpu":
        _keep_freed_memory()
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def _keep_freed_memory() -> None:
    """Tell glibc to keep freed memory, which spares a step the page faults of its large tensors.

    Changes no number, and is worth 3 to 10 % of a step on 2 cores. Other C libraries have no such call.
    """
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 autocast for ``bf16``, none for ``fp32``."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def device_name(device: torch.device) -> str:
    """The GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
