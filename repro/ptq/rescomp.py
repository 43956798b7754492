"""ResComp: GPTQ that also makes up for its own compensations (Li et al. 2026, arXiv 2604.07955)."""

from collections import deque

import torch
from torch import Tensor, nn

from repro.ptq.calibration import require_images, visit_inputs
from repro.ptq.clipping import mse_bound
from repro.ptq.frozen import freeze, per_channel
from repro.ptq.gptq import input_hessian, input_moment, inverse_factor
from repro.quant import QuantLayer, largest_code


def rescomp(model: nn.Module, images: Tensor | None, bit_width: int, alpha: float, alpha2: float) -> None:
    """GPTQ whose target stays the trained layer on the trained network's inputs, column by column.

    With W0 the trained weights, W those that have taken over errors, x~ the inputs of the unquantised network and x
    those that the quantised layers before give, W0 x~ - W x = W (x~ - x) + (W0 - W) x~. The first part is GPTAQ's (Li
    et al. 2025, arXiv 2504.02692), the second this method's; column q's share of both is made up for by the columns
    after it, the least squares that GPTQ solves for its rounding error. Where x~ = x the second part is, but for the
    damping, FOEM's error term with ``beta`` in place of ``alpha2``.

    Checked: the first part against GPTAQ's code; the second against the paper's equations and algorithm 1 as a public
    summary and two reimplementations quote them. Not checked: its own file in list0830/ResComp, which could not be had.
    The two factors are not in the papers: GPTAQ's code has 0.25, and ResComp's is said to have 0.25 for both, and a
    switch between modes by bit width. Not modelled: groups, activation order, rotations. Deviations as ``gptq``.

    Args:
        model: Trained FP32 model; changed in place.
        images: Calibration images [N, C, H, W].
        bit_width: Bits a weight.
        alpha: Share of the first part; with ``alpha2`` 0 it is GPTAQ, and with both 0 GPTQ.
        alpha2: Share of the second part.
    """
    images = require_images(images, "rescomp")
    trained: deque[Tensor] = deque()  # what each layer sees in the unquantised network
    visit_inputs(model, images, lambda layer, inputs: trained.append(inputs.clone()))

    def quantize_layer(layer: QuantLayer, inputs: Tensor) -> None:
        rows, hessian = layer.weight.detach().flatten(1), input_hessian(layer, inputs)
        drift = input_moment(layer, trained.popleft().sub_(inputs), inputs)
        scale = mse_bound(rows, largest_code(bit_width)) / largest_code(bit_width)
        codes = round_with_residuals(rows, scale, hessian, drift, largest_code(bit_width), (alpha, alpha2))
        freeze(layer, codes.reshape(layer.weight.shape), per_channel(scale, layer.weight), bit_width)

    visit_inputs(model, images, quantize_layer)


@torch.no_grad()
def round_with_residuals(
    rows: Tensor, scale: Tensor, hessian: Tensor, drift: Tensor, quant_max: int, shares: tuple[float, float]
) -> Tensor:
    """Codes whose errors, and both residuals, the later columns make up for.

    Args:
        rows: Weights [R, d].
        scale: Width of one level of each row [R].
        hessian: Mean x x^T, [d, d].
        drift: Mean (x~ - x) x^T, [d, d].
        quant_max: Largest code.
        shares: Of the inputs' residual and of the compensations'.

    Returns:
        Whole numbers [R, d], float.
    """
    rows, codes = rows.clone(), torch.empty_like(rows)
    factor = inverse_factor(hessian, rows)
    trained = rows.clone()
    moves = (
        -factor / factor.diagonal().unsqueeze(1),
        shares[0] * _carried(drift, factor),
        shares[1] * _carried(drift + hessian, factor),
    )
    for column in range(rows.shape[1]):
        value = rows[:, column].clone()
        codes[:, column] = (value / scale).round().clamp(-quant_max, quant_max)
        sources = (value - codes[:, column] * scale, value, trained[:, column] - value)
        left, right = torch.stack(sources, 1), torch.stack([move[column, column + 1 :] for move in moves])
        rows[:, column + 1 :].addmm_(left, right)
    return codes


def _carried(moment: Tensor, factor: Tensor) -> Tensor:
    """What each column hands to the later ones: moment[q, later] times the inverse Hessian of those, row by row."""
    return (moment @ factor.T).triu(1) @ factor
