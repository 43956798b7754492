"""Convolutions and matrix products that torch is slow at on a CPU.

**3x3 convolutions** go through Winograd's F(4x4, 3x3) (Lavin and Gray 2016), with a quarter of the products, summed in
FP32: 1.8 times as fast as torch's own FP32 convolutions (`benchmarks/README.md`). Its error is some 1e-5 of the largest
output, where torch's is 1e-6: it sums in another order, as another number of threads does. A few images at a time, so
that what lies between the transforms and the products stays in the cache.

**bfloat16 on processors without instructions for it.** There torch multiplies bfloat16 numbers one by one, some fifteen
times slower than FP32. The same arithmetic (factors rounded to bfloat16, their products summed in FP32, the result
rounded to bfloat16) is had from FP32 kernels on factors that have been rounded: products of two 8-bit significands are
exact in FP32, and Winograd's error is far below the rounding that follows, up to 2^-9 of each output.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from repro.kernels.call import call_kernel, floats, of_type
from repro.kernels.library import library

TILE = 4
# Of input and output: below it the matrix products are too thin to pay.
MIN_CHANNELS = {torch.bfloat16: 16, torch.float32: 32}
CHUNK = 2**18  # elements of the wider of input and output that are transformed at once: planes of 2.4 MB

Operation = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def product(
    operation: Operation, inputs: Tensor, weight: Tensor, bias: Tensor | None, *, padded_3x3: bool = False
) -> Tensor:
    """``operation(inputs, weight, bias)``, in bfloat16 where autocast asks for it, fast on any CPU.

    With ``REPRO_KERNELS=torch`` FP32 is torch's own.

    Args:
        operation: A convolution or ``linear``.
        inputs: [N, C, H, W] or [N, F].
        weight: [C', C, h, w] or [F', F].
        bias: [C'] or [F'], or ``None``.
        padded_3x3: It is a 3x3 convolution padded by one zero, with stride, dilation and groups of 1.
    """
    if not _emulates(inputs):
        if padded_3x3 and _is_fp32(inputs, weight) and _fits_winograd(inputs, weight):
            return _winograd(inputs, weight, bias)
        return operation(inputs, weight, bias)
    inputs, weight = inputs.to(torch.bfloat16), weight.to(torch.bfloat16)
    bias = None if bias is None else bias.to(torch.bfloat16)
    with torch.autocast("cpu", enabled=False):
        if padded_3x3 and _fits_winograd(inputs, weight):
            return _winograd(inputs, weight, bias)
        return operation(inputs.float(), weight.float(), None if bias is None else bias.float()).to(torch.bfloat16)


def _is_fp32(inputs: Tensor, weight: Tensor) -> bool:
    """Whether torch would multiply them in FP32 on a CPU."""
    return (
        inputs.device.type == "cpu"
        and inputs.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


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
        min(weight.shape[:2]) >= MIN_CHANNELS[images.dtype]
        and height % TILE == 0
        and width % TILE == 0
        and images.numel() > 0
        and images.is_contiguous(memory_format=torch.channels_last)
        and library() is not None
    )


def _winograd(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = _Winograd.apply(images, weight, weight.new_zeros(len(weight)) if bias is None else bias)
    return result


class _Winograd(torch.autograd.Function):
    """A 3x3 convolution with padding 1, summed in FP32."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        return _convolve(images, _filters(weight).transpose(1, 2), bias.float())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        images, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        images_gradient = weight_gradient = bias_gradient = None
        with torch.autocast("cpu", enabled=False):  # a backward pass may be called inside it
            if ctx.needs_input_grad[0]:  # a convolution too, with the filters turned around
                images_gradient = _convolve(gradient, _filters(weight.flip(2, 3)), floats(weight.shape[1]).zero_())
            if ctx.needs_input_grad[1]:
                weight_gradient = _weight_gradient(images, gradient)
        if ctx.needs_input_grad[2]:
            bias_gradient = gradient.sum((0, 2, 3), dtype=torch.float32).to(weight.dtype)
        return images_gradient, weight_gradient, bias_gradient


def _convolve(images: Tensor, filters: Tensor, bias: Tensor) -> Tensor:
    """[N, C, H, W] with filters [36, C, C'] and a bias [C'] to [N, C', H, W] of the same type."""
    channels = filters.shape[2]
    size = (len(images), channels, *images.shape[2:])
    result = torch.empty(size, dtype=images.dtype, memory_format=torch.channels_last)
    for some in _chunks(images, channels):
        planes, part = _to_planes("winograd_input", images[some]) @ filters, result[some]
        call_kernel(of_type("winograd_output", part), part, planes.shape[1], *part.shape[2:], channels, planes, bias)
    return result


def _weight_gradient(images: Tensor, gradient: Tensor) -> Tensor:
    """[C', C, 3, 3] from [N, C, H, W] and [N, C', H, W], of their type."""
    products = floats(36, gradient.shape[1], images.shape[1]).zero_()
    for some in _chunks(images, gradient.shape[1]):
        planes = _to_planes("winograd_gradient", gradient[some]).transpose(1, 2)
        products.baddbmm_(planes, _to_planes("winograd_input", images[some]))
    by_place = floats(3, 3, *products.shape[1:])
    call_kernel("winograd_weight_gradient", products, by_place[0, 0].numel(), by_place)
    return by_place.permute(2, 3, 0, 1).to(images.dtype, memory_format=torch.channels_last)


def _chunks(images: Tensor, channels: int) -> Iterator[slice]:
    """Images whose planes, or those of a result with ``channels``, fit into the cache."""
    count = max(1, CHUNK // (max(images.shape[1], channels) * images.shape[2] * images.shape[3]))
    return (slice(first, first + count) for first in range(0, len(images), count))


def _to_planes(kernel: str, images: Tensor) -> Tensor:
    """[N, C, H, W] to FP32 [36, tiles, C]."""
    n, channels, height, width = images.shape
    tiles = n * (height // TILE) * (width // TILE)
    planes = floats(36, tiles, channels)
    call_kernel(of_type(kernel, images), images, tiles, height, width, channels, planes)
    return planes


def _filters(weight: Tensor) -> Tensor:
    """[C', C, 3, 3] to FP32 [36, C', C]."""
    by_place = weight.permute(2, 3, 0, 1).float().contiguous()
    filters = floats(36, *by_place.shape[2:])
    call_kernel("winograd_weight", by_place, by_place[0, 0].numel(), filters)
    return filters
