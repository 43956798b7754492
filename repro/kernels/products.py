"""Convolutions and matrix products in bfloat16 on processors without instructions for it.

There torch multiplies bfloat16 numbers one by one, some fifteen times slower than FP32. The same arithmetic (factors
rounded to bfloat16, their products summed in FP32, the result rounded to bfloat16) is had from FP32 kernels on
factors that have been rounded: products of two 8-bit significands are exact in FP32.

3x3 convolutions go through Winograd's F(4x4, 3x3) (Lavin and Gray 2016), with a quarter of the products. Its error,
some 1e-5 of the largest output, is far below the rounding to bfloat16 that follows, up to 2^-9 of each output.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from repro.kernels.call import call_kernel, floats, of_type
from repro.kernels.library import library

TILE = 4
MIN_CHANNELS = 16  # of input and output: below it the matrix products are too thin to pay

Operation = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def product(
    operation: Operation, inputs: Tensor, weight: Tensor, bias: Tensor | None, *, padded_3x3: bool = False
) -> Tensor:
    """``operation(inputs, weight, bias)``, in bfloat16 where autocast asks for it, fast on any CPU.

    Args:
        operation: A convolution or ``linear``.
        inputs: [N, C, H, W] or [N, F].
        weight: [C', C, h, w] or [F', F].
        bias: [C'] or [F'], or ``None``.
        padded_3x3: It is a 3x3 convolution padded by one zero, with stride, dilation and groups of 1.
    """
    if not _emulates(inputs):
        return operation(inputs, weight, bias)
    inputs, weight = inputs.to(torch.bfloat16), weight.to(torch.bfloat16)
    bias = None if bias is None else bias.to(torch.bfloat16)
    with torch.autocast("cpu", enabled=False):
        if padded_3x3 and _fits_winograd(inputs, weight):
            result: Tensor = _Winograd.apply(inputs, weight, weight.new_zeros(len(weight)) if bias is None else bias)
            return result
        return operation(inputs.float(), weight.float(), None if bias is None else bias.float()).to(torch.bfloat16)


def _emulates(inputs: Tensor) -> bool:
    """Whether autocast asks for bfloat16 on a CPU that has no instructions for it."""
    return (
        inputs.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and not multiplies_bfloat16()
        and not torch.compiler.is_compiling()
    )


@cache
def multiplies_bfloat16() -> bool:
    """Whether torch has fast bfloat16 products on this CPU (AVX-512 and above, by oneDNN's own account)."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # as on macOS
        return False
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported


def _fits_winograd(images: Tensor, weight: Tensor) -> bool:
    height, width = images.shape[-2:]
    return (
        min(weight.shape[:2]) >= MIN_CHANNELS
        and height % TILE == 0
        and width % TILE == 0
        and images.numel() > 0
        and images.is_contiguous(memory_format=torch.channels_last)
        and library() is not None
    )


class _Winograd(torch.autograd.Function):
    """A 3x3 convolution with padding 1 of bfloat16 tensors, summed in FP32."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        planes = _to_planes("winograd_input", images)
        ctx.save_for_backward(planes, weight)
        ctx.shape = images.shape
        return _from_planes(_multiply(planes, _filters(weight).transpose(1, 2)), images.shape, bias.float())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        planes, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        images_gradient = None
        if ctx.needs_input_grad[0]:  # a convolution too, with the filters turned around
            filters = _filters(weight.flip(2, 3))
            channels = weight.shape[1]
            images_gradient = _from_planes(
                _multiply(_to_planes("winograd_input", gradient), filters), ctx.shape, floats(channels).zero_()
            )
        products = _multiply(_to_planes("winograd_gradient", gradient).transpose(1, 2), planes)
        by_place = floats(3, 3, *products.shape[1:])
        call_kernel("winograd_weight_gradient", products, by_place[0, 0].numel(), by_place)
        weight_gradient = by_place.permute(2, 3, 0, 1).to(torch.bfloat16, memory_format=torch.channels_last)
        if not ctx.needs_input_grad[2]:
            return images_gradient, weight_gradient, None
        return images_gradient, weight_gradient, gradient.sum((0, 2, 3), dtype=torch.float32).to(torch.bfloat16)


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """Matrix products in FP32, also in a backward pass that is called inside autocast."""
    with torch.autocast("cpu", enabled=False):
        return left @ right


def _to_planes(kernel: str, images: Tensor) -> Tensor:
    """[N, C, H, W] to FP32 [36, tiles, C]."""
    n, channels, height, width = images.shape
    tiles = n * (height // TILE) * (width // TILE)
    planes = floats(36, tiles, channels)
    call_kernel(of_type(kernel, images), images, tiles, height, width, channels, planes)
    return planes


def _from_planes(planes: Tensor, shape: torch.Size, bias: Tensor) -> Tensor:
    """FP32 [36, tiles, C'] to bfloat16 [N, C', H, W], with N, H and W of ``shape``."""
    channels, tiles = planes.shape[2], planes.shape[1]
    size = (shape[0], channels, shape[2], shape[3])
    images = torch.empty(size, dtype=torch.bfloat16, memory_format=torch.channels_last)
    call_kernel(of_type("winograd_output", images), images, tiles, shape[2], shape[3], channels, planes, bias)
    return images


def _filters(weight: Tensor) -> Tensor:
    """[C', C, 3, 3] to FP32 [36, C', C]."""
    by_place = weight.permute(2, 3, 0, 1).float().contiguous()
    filters = floats(36, *by_place.shape[2:])
    call_kernel("winograd_weight", by_place, by_place[0, 0].numel(), filters)
    return filters
