"""Batch norm with ReLU, and with 2x2 max-pooling before ReLU, as one operator."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from repro.kernels.call import SUFFIX, call_kernel, floats, of_type
from repro.kernels.library import library

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


def norm_relu(norm: BatchNorm, features: Tensor, *, pool: bool = False) -> Tensor:
    """``relu(norm(features))``, or with ``pool`` ``relu(max_pool2d(norm(features), 2))``.

    The same function as torch's operators with the sums taken in another order (statistics in FP32 and above). Where
    the kernels do not serve (see ``serves``) torch's operators run.

    Args:
        norm: Batch norm; its running statistics move in training, as torch moves them.
        features: [N, C, H, W] in channels_last, or [N, F]; FP32 or bfloat16.
        pool: Pool over 2x2 windows between norm and ReLU.

    Returns:
        Activations of ``features``' dtype, [N, C, H, W], [N, C, H / 2, W / 2] or [N, F].
    """
    if not serves(norm, features, pool):
        normalized: Tensor = norm(features)
        return torch.relu_(nn.functional.max_pool2d(normalized, 2) if pool else normalized)
    if not norm.training:
        return _apply_running(norm, features, pool)
    output, mean, variance = _NormReLU.apply(features, norm.weight, norm.bias, norm.eps, pool)
    _move_statistics(norm, mean, variance, features.numel() // features.shape[1])
    result: Tensor = output
    return result


def serves(norm: BatchNorm, features: Tensor, pool: bool) -> bool:
    """Whether a kernel computes this: on a CPU, a supported type, layout and shape, and a plain batch norm."""
    if features.device.type != "cpu" or features.dtype not in SUFFIX or norm.momentum is None:
        return False
    own = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    if any(values is None or values.dtype != torch.float32 for values in own):
        return False
    if type(norm) is nn.BatchNorm2d and features.dim() == 4:
        whole = features.is_contiguous(memory_format=torch.channels_last)
    else:
        whole = type(norm) is nn.BatchNorm1d and features.dim() == 2 and features.is_contiguous() and not pool
    if not whole or features.shape[1] != norm.num_features:
        return False
    if pool and (features.shape[2] % 2 or features.shape[3] % 2 or not features.numel()):
        return False
    if norm.training and features.numel() <= features.shape[1]:
        return False  # one value a channel has no variance: torch says so
    if (
        not norm.training
        and torch.is_grad_enabled()
        and (features.requires_grad or norm.weight.requires_grad or norm.bias.requires_grad)
    ):
        return False  # a gradient in evaluation is nobody's training step
    return features.numel() > 0 and not torch.compiler.is_compiling() and library() is not None


class _NormReLU(torch.autograd.Function):
    """With the batch's own statistics; gives them too."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, eps: float, pool: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, channels, width = _shape(features)
        mean, variance = floats(channels), floats(channels)
        if pool:
            taken = _pooled_like(features)
            sign = weight.sign().to(torch.int8)
            _call("norm_pool", features, rows // (2 * width), width, channels, sign, taken, mean, variance)
        else:
            taken = features
            _call("norm_measure", features, rows, channels, mean, variance)
        inverse = torch.rsqrt(variance + eps)
        scale = weight * inverse
        shift = bias - mean * scale
        output = torch.empty_like(taken)
        _call("norm_apply", taken, taken.numel() // channels, channels, scale, shift, output)
        ctx.save_for_backward(features, taken, mean, inverse, scale, shift)
        ctx.pool = pool
        ctx.mark_non_differentiable(mean, variance)
        return output, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        features, taken, mean, inverse, scale, shift = ctx.saved_tensors
        rows, channels, width = _shape(features)
        layout = torch.channels_last if features.dim() == 4 else torch.contiguous_format
        gradient = gradients[0].to(features.dtype).contiguous(memory_format=layout)
        g, gx = floats(channels), floats(channels)
        _call("norm_sums", taken, gradient, taken.numel() // channels, channels, scale, shift, mean, g, gx)
        # dx = scale (g - mean(g) - x^ mean(g x^)) with x^ = (x - mean) inverse: linear in x
        slope = scale * inverse.square() * gx / rows
        offset = scale * g / rows - mean * slope
        result = torch.empty_like(features)
        if ctx.pool:
            pairs = rows // (2 * width)
            _call(
                "norm_pooled_input_gradient",
                *(features, taken, gradient, pairs, width, channels, scale, shift, slope, offset, result),
            )
        else:
            _call("norm_input_gradient", features, gradient, rows, channels, scale, shift, slope, offset, result)
        return result, gx * inverse, g, None, None


@torch.no_grad()
def _apply_running(norm: BatchNorm, features: Tensor, pool: bool) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    rows, channels, width = _shape(features)
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    if pool:
        pooled, sign = _pooled_like(features), norm.weight.sign().to(torch.int8)
        _call("norm_pool", features, rows // (2 * width), width, channels, sign, pooled, None, None)
        features = pooled
    output = torch.empty_like(features)
    _call("norm_apply", features, features.numel() // channels, channels, scale, shift, output)
    return output


@torch.no_grad()
def _move_statistics(norm: BatchNorm, mean: Tensor, variance: Tensor, rows: int) -> None:
    """As ``nn.BatchNorm`` does, the unbiased variance included; in torch, so that version counters move."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    momentum = float(norm.momentum or 0.0)
    norm.num_batches_tracked.add_(1)
    norm.running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
    norm.running_var.mul_(1 - momentum).add_(variance, alpha=momentum * rows / (rows - 1))


def _shape(features: Tensor) -> tuple[int, int, int]:
    """Rows, channels and the width of an image."""
    channels = features.shape[1]
    return features.numel() // channels, channels, features.shape[-1]


def _pooled_like(features: Tensor) -> Tensor:
    n, c, h, w = features.shape
    return torch.empty((n, c, h // 2, w // 2), dtype=features.dtype, memory_format=torch.channels_last)


def _call(name: str, first: Tensor, *rest: Tensor | int | None) -> None:
    call_kernel(of_type(name, first), first, *rest)
