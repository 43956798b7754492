"""GPTQ: rounding with the error passed on to the weights not yet rounded (Frantar et al. 2022)."""

import torch
from torch import Tensor, nn

from repro.ptq.calibration import require_images, visit_inputs
from repro.ptq.clipping import mse_bound
from repro.ptq.frozen import freeze, per_channel
from repro.quant import QuantConv2d, QuantLayer, largest_code

DAMPING = 0.01  # of the Hessian's mean diagonal (section 3.3, step 3)
BLOCK_COLUMNS = 128  # lazy batch updates (section 3.3, step 2)
UNFOLD_IMAGES = 32


def gptq(model: nn.Module, images: Tensor | None, bit_width: int) -> None:
    """Quantise layer by layer so that each layer's output on ``images``, not its weight, changes least.

    Algorithm 1 of arXiv 2210.17323, with the inputs that the layers quantised before give. A convolution is
    the linear layer that it is on unfolded patches. Deviations: symmetric narrow-range levels, one scale an output
    channel from the bound of least squared weight error (the paper: asymmetric, minimum to maximum).

    Chosen over AdaRound: no hyperparameters, the same bits every time, and one pass. A layer costs its Hessian,
    some 0.7 TFLOP for the larger convolutions and 1,024 images; hundreds of gradient steps cost several times that.

    Args:
        model: Trained FP32 model; changed in place.
        images: Calibration images [N, C, H, W].
        bit_width: Bits a weight.
    """
    _quantize(model, require_images(images, "gptq"), bit_width, beta=0.0)


def foem(model: nn.Module, images: Tensor | None, bit_width: int, beta: float) -> None:
    """GPTQ with FOEM's first-order term (Zheng et al. 2026, "First-Order Error Matters", arXiv 2507.11017).

    Weights that have taken over errors are no longer at the minimum that GPTQ's expansion assumes: their gradient is
    H (W - W0), W0 the trained weights. Times ``beta`` it draws a column back to W0 before it is rounded, and lessens
    the error that it passes on. The form is that of their second version, checked against their code in GPTQModel,
    which does not draw back the first column of each block of 128; here all are. Not modelled: groups, activation
    order, and GPTAQ's term for the inputs (their ``alpha``; ``rescomp`` has it). Deviations as ``gptq``.

    Args:
        model: Trained FP32 model; changed in place.
        images: Calibration images [N, C, H, W].
        bit_width: Bits a weight.
        beta: Share of the gradient; 0.2 in their code, 0 is GPTQ.
    """
    _quantize(model, require_images(images, "foem"), bit_width, beta)


def _quantize(model: nn.Module, images: Tensor, bit_width: int, beta: float) -> None:
    def quantize_layer(layer: QuantLayer, inputs: Tensor) -> None:
        rows = layer.weight.detach().flatten(1)
        scale = mse_bound(rows, largest_code(bit_width)) / largest_code(bit_width)
        codes = round_with_feedback(rows, scale, input_hessian(layer, inputs), largest_code(bit_width), beta)
        freeze(layer, codes.reshape(layer.weight.shape), per_channel(scale, layer.weight), bit_width)

    visit_inputs(model, images, quantize_layer)


@torch.no_grad()
def input_hessian(layer: QuantLayer, inputs: Tensor) -> Tensor:
    """Mean of x x^T over all inputs (patches of a convolution) that a row of the weight meets.

    Args:
        layer: A convolution of one group, or a linear layer.
        inputs: [N, C, H, W] or [..., F].

    Returns:
        [d, d], float32, d the inputs of one output.
    """
    return input_moment(layer, inputs, inputs)


@torch.no_grad()
def input_moment(layer: QuantLayer, left: Tensor, right: Tensor) -> Tensor:
    """As ``input_hessian``, of x y^T with x from ``left`` and y from ``right`` at the same places."""
    size = layer.weight[0].numel()
    moment, count = torch.zeros(size, size, device=left.device), 0
    for one, other in zip(torch.split(left, UNFOLD_IMAGES), torch.split(right, UNFOLD_IMAGES), strict=True):
        patches = _patches(layer, one)
        moment.addmm_(patches.T, patches if right is left else _patches(layer, other))
        count += len(patches)
    return moment / count


def _patches(layer: QuantLayer, inputs: Tensor) -> Tensor:
    """What each output sees: [M, d]."""
    if not isinstance(layer, QuantConv2d):
        return inputs.flatten(0, -2)
    assert not isinstance(layer.padding, str)
    unfolded = nn.functional.unfold(inputs.contiguous(), layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return unfolded.transpose(1, 2).reshape(-1, unfolded.shape[1])


@torch.no_grad()
def round_with_feedback(rows: Tensor, scale: Tensor, hessian: Tensor, quant_max: int, beta: float = 0.0) -> Tensor:
    """Codes that change the output least, column by column (algorithm 1).

    Args:
        rows: Weights [R, d].
        scale: Width of one level of each row [R].
        hessian: [d, d], symmetric, up to a factor.
        quant_max: Largest code.
        beta: Of FOEM's first-order term; 0 leaves it out.

    Returns:
        Whole numbers [R, d], float.
    """
    rows, codes = rows.clone(), torch.empty_like(rows)
    factor = inverse_factor(hessian, rows)
    trained = rows.clone() if beta else rows
    for start in range(0, rows.shape[1], BLOCK_COLUMNS):
        end = min(start + BLOCK_COLUMNS, rows.shape[1])
        errors = torch.empty(len(rows), end - start, dtype=rows.dtype, device=rows.device)
        for column in range(start, end):
            if beta:
                rows[:, column] -= beta * (rows[:, column] - trained[:, column])
            codes[:, column] = (rows[:, column] / scale).round().clamp(-quant_max, quant_max)
            error = rows[:, column] - codes[:, column] * scale
            if beta:
                error = error - beta * (rows[:, column] - trained[:, column])
            error = error / factor[column, column]
            rows[:, column:end] -= torch.outer(error, factor[column, column:end])
            errors[:, column - start] = error
        rows[:, end:] -= errors @ factor[start:end, end:]
    return codes


def inverse_factor(hessian: Tensor, rows: Tensor) -> Tensor:
    """Upper Cholesky factor of the damped Hessian's inverse; inputs that are always zero lose their weights."""
    hessian = hessian.to(torch.float64, copy=True)
    diagonal = hessian.diagonal()
    dead = diagonal == 0
    rows[:, dead] = 0
    diagonal += DAMPING * diagonal.mean()
    diagonal[dead] = 1
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper.to(rows.dtype)
