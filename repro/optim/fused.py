"""The whole update of a training step in one pass over memory, where there is a kernel for it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from repro.kernels import call_kernel, serves_elementwise
from repro.optim.clipping import WeightClip, gradient_norm

CLIPS = {"none": 0, "tanh": 1, "hard": 2}  # update.c


class FusedUpdate:
    """``clip_gradients``, AdamW's step and the weight clip as one; state and results are theirs, up to last bits."""

    def __init__(self, optimizer: torch.optim.Optimizer, weight_clip: WeightClip, parameters: Sequence[Tensor]) -> None:
        """Update ``parameters``, all of ``optimizer``, of which ``weight_clip`` clips some."""
        self._optimizer, self._clip, self._parameters = optimizer, weight_clip, parameters
        self._moved = {id(weight): moved for weight, moved in zip(weight_clip.weights, weight_clip.moved, strict=True)}

    def serves(self) -> bool:
        """Whether the kernel can take the next step; AdamW takes the first one itself, and makes its state."""
        return (
            isinstance(self._optimizer, torch.optim.AdamW)
            and self._clip.name in CLIPS
            and len(self._optimizer.param_groups) == 1
            and all(p.grad is not None and serves_elementwise(p) for p in self._parameters)
            and all(map(self._in_order, self._parameters))
        )

    def _in_order(self, parameter: Tensor) -> bool:
        """Whether all that is updated with it lies in memory as it does; a loaded state may not."""
        state = self._optimizer.state.get(parameter, {})
        mates = (state.get("exp_avg"), state.get("exp_avg_sq"), self._moved.get(id(parameter), parameter))
        return all(mate is not None and mate.stride() == parameter.stride() for mate in mates)

    @torch.no_grad()
    def step(self, max_norm: float | None) -> Tensor:
        """Take one step from the parameters' gradients, which stay as they are.

        Args:
            max_norm: Bound on the global gradient norm; ``None`` for none.

        Returns:
            The norm before clipping, a scalar tensor.
        """
        gradients = [_aligned(p) for p in self._parameters]
        norm, factor = gradient_norm(gradients, max_norm)
        group = self._optimizer.param_groups[0]
        rate, (beta1, beta2) = group["lr"], group["betas"]
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            state = self._optimizer.state[parameter]
            state["step"] += 1
            steps = state["step"].item()
            moved = self._moved.get(id(parameter))
            call_kernel(
                "adamw_update",
                *(parameter, gradient, state["exp_avg"], state["exp_avg_sq"], moved, parameter.numel()),
                *(1.0 if factor is None else factor.item(), 1 - rate * group["weight_decay"]),
                *(1 - beta1, beta2, 1 - beta2),
                *(rate / (1 - beta1**steps), (1 - beta2**steps) ** 0.5, group["eps"]),
                *(0 if moved is None else CLIPS[self._clip.name], float(self._clip.options.get("bound", 1.0))),
            )
            torch.autograd.graph.increment_version(parameter)
        return norm


def _aligned(parameter: Tensor) -> Tensor:
    """Its gradient, elements in the order of its own memory."""
    gradient = parameter.grad
    assert gradient is not None
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
