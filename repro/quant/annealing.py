"""StatsQ with confidence-guided annealing: at the end only weights next to a boundary move (Liu et al. 2023)."""

import torch
from torch import Tensor

from repro.quant.statsq import StatsQuantizer


class AnnealedStatsQuantizer(StatsQuantizer):
    """StatsQ whose weights stand still from some epoch on, unless they lie next to a boundary between two levels.

    Before each step of the last epochs a weight counts as settled where it is farther from every boundary than
    ``boundary_range`` widths of a level. It gets no gradient, and whatever a step does to it, by momentum, decay or the
    weight clip, is undone before the next one. Weights of a channel share a scale, so that one of them may come next to
    a boundary later, and move again.

    Modelled: mask, gradient and restoring, checked against the official code (nbasyl/OFQ, ``cga.py``). Deviations: the
    annealing is the end of the one training, with its schedule, where the original goes on after 300 epochs for 30 more
    at its smallest rate, 0.02 of the first; every quantised layer takes part; and the boundaries beyond the outermost
    codes in use count, which the original leaves out. Not modelled: what ``statsq`` leaves out besides.
    """

    annealing: Tensor
    settled: Tensor
    kept: Tensor

    def __init__(self, weight: Tensor, bit_width: int, start: float, boundary_range: float) -> None:
        """Plain StatsQ until annealing starts.

        Args:
            weight: The layer's initial weight, for shape and device.
            bit_width: Bits of a weight.
            start: Completed epochs from which on weights settle.
            boundary_range: In widths of a level: 0.003 to 0.01 in the original, mostly 0.005 or 0.007.
        """
        super().__init__(weight, bit_width)
        self.start, self.boundary_range = start, boundary_range
        self.register_buffer("annealing", torch.zeros((), dtype=torch.bool, device=weight.device))
        self.register_buffer("settled", torch.zeros_like(weight, dtype=torch.bool, requires_grad=False))
        self.register_buffer("kept", torch.zeros_like(weight, requires_grad=False))

    def start_epoch(self, completed: int) -> None:
        """Anneal in the epochs after ``start``."""
        self.annealing.fill_(completed >= self.start)

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, with a gradient for those that may move; in training every call is a step."""
        if self.training:
            self._settle(weight)
        result = super().forward(weight)
        return torch.where(self.settled, result.detach(), result)

    def scale(self, weight: Tensor) -> Tensor:
        """Width of one level of each channel, the settled weights where they were."""
        return super().scale(self.restored(weight))

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Level below each weight, and the widths."""
        return super().codes(self.restored(weight))

    def restored(self, weight: Tensor) -> Tensor:
        """The weight as it counts: what a step did to settled ones is undone."""
        return torch.where(self.settled, self.kept, weight.detach())

    @torch.no_grad()
    def _settle(self, weight: Tensor) -> None:
        """Undo the last step's part on settled weights, and choose those of the next one; nothing waits for it."""
        weight.copy_(self.restored(weight))
        self.kept.copy_(weight)
        place = (weight / self.scale(weight) - 0.5).clamp_(-self.positive, self.positive - 1)
        distance = (place - place.floor()).sub_(0.5).abs_()
        self.settled.copy_((distance > self.boundary_range) & self.annealing)
