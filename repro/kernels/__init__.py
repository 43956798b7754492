"""Kernels of the training step that torch has no fast form of on a CPU: plain C, compiled at first use."""

import torch

from repro.kernels.call import call_kernel, serves_elementwise
from repro.kernels.library import library
from repro.kernels.norm import BatchNorm, norm_relu
from repro.kernels.products import multiplies_bfloat16, product

__all__ = ["BatchNorm", "call_kernel", "kernels_in_use", "library", "norm_relu", "product", "serves_elementwise"]


def kernels_in_use(device: torch.device) -> dict[str, str]:
    """For a record.

    Returns:
        ``step``: ``fused``, or ``torch`` for its own operators (norm, pooling, ReLU, update); ``fp32_products``:
        ``Winograd``, or nothing for torch's own. On a CPU that has no bfloat16 products ``bf16_products`` says what a
        run in bfloat16 has instead.
    """
    fused = device.type == "cpu" and library() is not None
    kernels = {"step": "fused", "fp32_products": "Winograd"} if fused else {"step": "torch"}
    if device.type == "cpu" and not multiplies_bfloat16():
        kernels["bf16_products"] = "FP32, Winograd" if fused else "FP32"
    return kernels
