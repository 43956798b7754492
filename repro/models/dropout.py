"""Dropout that draws from a generator of its run instead of the process's."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """``nn.Dropout``, on a CPU with the same bits, whose masks come from ``generator`` where one is set.

    Several runs can then train in one process in turns, each with the masks that it would draw alone, and
    a captured CUDA graph can be told of the generator.
    """

    generator: torch.Generator | None = None

    def forward(self, features: Tensor) -> Tensor:
        """[N, F] to [N, F]; kept features are multiplied by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return features
        keep = 1 - self.p
        mask = torch.empty_like(features).bernoulli_(keep, generator=self.generator).div_(keep)
        return features * mask


def share_generator(model: nn.Module, generator: torch.Generator) -> None:
    """Let whatever draws in ``model`` draw from ``generator``, which lies on the model's device: dropout and noise."""
    for module in model.modules():
        if hasattr(module, "generator"):
            module.generator = generator  # type: ignore[assignment]
