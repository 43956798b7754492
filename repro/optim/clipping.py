"""What happens to gradients before and to weights after an optimiser step."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from repro.config.registry import WEIGHT_CLIPS

CACHED_WEIGHTS = 2**17  # 512 KiB of each of the clip's four operands


def tanh_clip(weights: list[Tensor], bound: float) -> list[Tensor]:
    """The paper's soft clip b tanh(W / b), b = 3 (equation 9): a cubic shrink, W - W^3 / (3 b^2) + ..."""
    clipped = torch._foreach_div(weights, bound)
    torch._foreach_tanh_(clipped)
    torch._foreach_mul_(clipped, bound)
    return list(clipped)


def hard_clip(weights: list[Tensor], bound: float) -> list[Tensor]:
    """clamp(W, -b, b), the alternative of figure 2; does nothing while no weight reaches b."""
    clipped = torch._foreach_clamp_max(weights, bound)
    torch._foreach_clamp_min_(clipped, -bound)
    return list(clipped)


class WeightClip:
    """Applies a weight clip after each step and adds up how far it moved each weight."""

    def __init__(self, weights: Sequence[Tensor], name: str, **options: float) -> None:
        """Clip ``weights`` in place, by the method ``name`` of ``WEIGHT_CLIPS`` or ``none``."""
        self.name, self.options, self.weights = name, options, list(weights)
        self._clip = None if name == "none" else WEIGHT_CLIPS[name]
        self.moved = [torch.zeros_like(weight, requires_grad=False) for weight in weights]

    @torch.no_grad()
    def step(self) -> None:
        """Clip all weights; called after the optimiser's step, as the authors did."""
        if self._clip is None:
            return
        for weights, moved in self._groups():
            clipped = self._clip(weights, **self.options)
            difference = torch._foreach_sub(weights, clipped)
            torch._foreach_abs_(difference)
            torch._foreach_add_(moved, difference)
            torch._foreach_copy_(weights, clipped)

    def _groups(self) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """What is clipped in one go: on a GPU all weights, in few launches; on a CPU a piece that fits its cache."""
        if self.weights[0].is_cuda:
            yield self.weights, self.moved
            return
        for weight, moved in zip(self.weights, self.moved, strict=True):
            pieces = zip(
                torch.split(_flat(weight), CACHED_WEIGHTS), torch.split(_flat(moved), CACHED_WEIGHTS), strict=True
            )
            yield from (([weight_piece], [moved_piece]) for weight_piece, moved_piece in pieces)

    def reset(self) -> None:
        """Start adding up anew, at the beginning of an epoch."""
        torch._foreach_zero_(self.moved)


def _flat(tensor: Tensor) -> Tensor:
    """All elements in the order of memory, whatever the memory format."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))


@torch.no_grad()
def clip_gradients(gradients: list[Tensor], max_norm: float | None) -> Tensor:
    """Scale all gradients so that their global norm is at most ``max_norm``.

    Args:
        gradients: One tensor a parameter.
        max_norm: Bound, 0.5 in the paper; ``None`` leaves the gradients as they are.

    Returns:
        The norm before clipping, a scalar tensor on the device.
    """
    norm, factor = gradient_norm(gradients, max_norm)
    if factor is not None:
        torch._foreach_mul_(gradients, factor)
    return norm


def gradient_norm(gradients: list[Tensor], max_norm: float | None) -> tuple[Tensor, Tensor | None]:
    """The global norm, and the factor that brings it to at most ``max_norm`` (``None`` without a bound)."""
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    if max_norm is None:
        return norm, None
    return norm, torch.clamp(max_norm / (norm + 1e-6), max=1.0)  # as torch.nn.utils.clip_grad_norm_
