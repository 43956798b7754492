"""Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks")."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from repro.optim.base import PerParameter, adam_direction, hidden_matrices

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that maps singular values towards 1
ITERATIONS = 5
RMS = 0.2  # of an AdamW step, as Moonshot measured it
SMALLEST_NORM = 1e-7


class Muon(PerParameter):
    """Weights of hidden layers move by the orthogonal matrix next to their momentum; all else by AdamW.

    A convolution is the matrix of its output channels, its other dimensions as one. As the authors do, the first
    and the last layer, biases, batch norm and learned steps go to AdamW.

    Modelled: Nesterov's momentum and five Newton-Schulz iterations, checked against KellerJordan/Muon and
    ``torch.optim.Muon``. The rate is multiplied by 0.2 sqrt(max(rows, columns)) (Liu et al. 2025, "Muon is Scalable for
    LLM Training"), torch's ``match_rms_adamw``: so one rate serves both halves, and it can be AdamW's. Unlike torch's
    it takes convolutions, can be captured on a GPU, and iterates in FP32 on a CPU, where bfloat16 may be many times
    slower; on a GPU in bfloat16, as the original.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        momentum: float,
        beta1: float,
        beta2: float,
        weight_decay: float,
    ) -> None:
        """Sort parameters into the two halves.

        Args:
            parameters: In the order of the forward pass.
            learning_rate: Of both halves.
            momentum: Of the matrices.
            beta1: AdamW's, for the rest.
            beta2: The same.
            weight_decay: Decoupled, on everything.
        """
        parameters = list(parameters)
        hidden = {id(parameter) for parameter in hidden_matrices(parameters)}
        groups = [
            {"params": half, "orthogonal": orthogonal}
            for orthogonal in (True, False)
            if (half := [p for p in parameters if (id(p) in hidden) == orthogonal])
        ]
        super().__init__(groups, learning_rate, momentum=momentum, betas=(beta1, beta2), weight_decay=weight_decay)

    def update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """One step of one parameter."""
        if group["orthogonal"]:
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            ahead = gradient.lerp(state["momentum"], group["momentum"]).flatten(1)
            step = orthogonalize(ahead).reshape(parameter.shape) * (RMS * math.sqrt(max(ahead.shape)))
        else:
            step = adam_direction(state, gradient, group["betas"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step * group["lr"])


def orthogonalize(matrix: Tensor) -> Tensor:
    """Nearly U V^T of a matrix U S V^T: singular values between some 0.7 and 1.2.

    Args:
        matrix: [R, C], FP32.

    Returns:
        [R, C], FP32.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    values = (matrix.T if tall else matrix).to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    values = values / values.norm().clamp(min=SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = values @ values.T
        values = a * values + (b * gram + c * gram @ gram) @ values
    result: Tensor = (values.T if tall else values).to(matrix.dtype)
    return result
