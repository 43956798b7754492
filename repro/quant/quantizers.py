"""Weight quantisers: one small module a layer, one registry line a method.

To add a method, write its class here (or in a module beside this one), add it to
``QUANTIZERS``, and list its options in ``repro.config.schema.QUANTIZERS``.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from repro.quant.functional import absmax, fake_quantize, largest_code, quantize


class WeightQuantizer(nn.Module):
    """Signed narrow-range quantisation of one layer's weight with a scale of its own.

    A subclass says where the clipping bound c comes from; everything else is shared.
    """

    def __init__(self, bit_width: int) -> None:
        """``bit_width`` bits a weight, so codes from ``-quant_max`` to ``quant_max``."""
        super().__init__()
        self.bit_width = bit_width
        self.quant_max = largest_code(bit_width)

    @property
    def max_levels(self) -> int:
        """Largest number of distinct codes: 15 for 4 bits."""
        return 2 * self.quant_max + 1

    def clip_bound(self, weight: Tensor) -> Tensor:
        """The bound c, a scalar tensor in weight units (equation 1)."""
        raise NotImplementedError

    def scale(self, weight: Tensor) -> Tensor:
        """Width of one level, s = c / q (equation 2)."""
        return self.clip_bound(weight) / self.quant_max

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, straight-through gradient; same shape as ``weight``."""
        return fake_quantize(weight, self.scale(weight), self.quant_max)

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes (int8, ``weight``'s shape) and the scale that turns them into weights."""
        scale = self.scale(weight)
        return quantize(weight, scale, self.quant_max).to(torch.int8), scale

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """The weights that ``codes`` and ``scale`` stand for (equation 4): the same bits as ``forward``."""
        return codes * scale


class AbsmaxQuantizer(WeightQuantizer):
    """The paper's dynamic per-layer scaling: max(abs(W)) at every forward pass (section III-B)."""

    def __init__(self, weight: Tensor, bit_width: int) -> None:
        """``weight`` gives nothing here; every factory takes it."""
        super().__init__(bit_width)

    def clip_bound(self, weight: Tensor) -> Tensor:
        """Largest magnitude now."""
        return absmax(weight)


class FixedClipQuantizer(WeightQuantizer):
    """A reading of "w/o per-layer scaling" (table VII): the same fixed c in every layer."""

    bound: Tensor

    def __init__(self, weight: Tensor, bit_width: int, clip: float) -> None:
        """``clip`` is c in weight units."""
        super().__init__(bit_width)
        self.register_buffer("bound", torch.tensor(clip, dtype=weight.dtype, device=weight.device))

    def clip_bound(self, weight: Tensor) -> Tensor:
        """The bound it holds."""
        return self.bound


class InitialAbsmaxQuantizer(FixedClipQuantizer):
    """A reading of "w/o per-layer scaling": each layer keeps the bound of its initial weights."""

    def __init__(self, weight: Tensor, bit_width: int) -> None:
        """``weight`` is the layer's initial weight."""
        super().__init__(weight, bit_width, clip=absmax(weight).item())


class GlobalAbsmaxQuantizer(FixedClipQuantizer):
    """A reading of "w/o per-layer scaling": one dynamic maximum over all layers."""

    def __init__(self, weight: Tensor, bit_width: int) -> None:
        """Starts from the layer's own maximum; ``share_bound`` replaces it before each forward pass."""
        super().__init__(weight, bit_width, clip=absmax(weight).item())

    @staticmethod
    def share_bound(quantizers: Sequence["GlobalAbsmaxQuantizer"], weights: Sequence[Tensor]) -> None:
        """Give every layer the largest magnitude over ``weights``."""
        bound = torch.stack([absmax(weight) for weight in weights]).amax()
        for quantizer in quantizers:
            quantizer.bound = bound


# name -> factory(initial weight, **options); `none` attaches nothing.
QUANTIZERS: dict[str, Callable[..., WeightQuantizer]] = {
    "absmax": AbsmaxQuantizer,
    "absmax_fixed": FixedClipQuantizer,
    "absmax_global": GlobalAbsmaxQuantizer,
    "absmax_initial": InitialAbsmaxQuantizer,
}
