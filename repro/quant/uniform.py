"""Uniform symmetric grids: signed narrow-range codes, and many ways to choose the clipping bound."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from repro.quant.base import WeightQuantizer, nonzero
from repro.quant.functional import absmax, fake_quantize, largest_code, quantize


class UniformQuantizer(WeightQuantizer):
    """Codes from ``-quant_max`` to ``quant_max``: 15 levels for 4 bits.

    A subclass says where the clipping bound c comes from; everything else is shared.
    """

    def __init__(self, bit_width: int) -> None:
        """``bit_width`` bits a weight."""
        quant_max = largest_code(bit_width)
        super().__init__(bit_width, max_levels=2 * quant_max + 1)
        self.quant_max = quant_max

    def clip_bound(self, weight: Tensor) -> Tensor:
        """The bound c in weight units (equation 1): a scalar, or a shape that broadcasts to ``weight``."""
        raise NotImplementedError

    def scale(self, weight: Tensor) -> Tensor:
        """Width of one level, s = c / q (equation 2)."""
        return self.clip_bound(weight) / self.quant_max

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, straight-through gradient (equations 4 to 8); same shape as ``weight``."""
        return fake_quantize(weight, self.scale(weight), self.quant_max)

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes (equations 1 and 3) and the width of one level."""
        scale = self.scale(weight)
        return quantize(weight, scale, self.quant_max).to(torch.int8), scale


class AbsmaxQuantizer(UniformQuantizer):
    """The paper's dynamic per-layer scaling: max(abs(W)) at every forward pass (section III-B)."""

    scale_invariant = True

    def __init__(self, weight: Tensor, bit_width: int) -> None:
        """``weight`` gives nothing here; every factory takes it."""
        super().__init__(bit_width)

    def clip_bound(self, weight: Tensor) -> Tensor:
        """Largest magnitude now."""
        return absmax(weight)


class FixedClipQuantizer(UniformQuantizer):
    """A reading of "w/o per-layer scaling" (table VII): the same fixed c in every layer."""

    scale_invariant = False
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


class TernaryQuantizer(UniformQuantizer):
    """BitNet b1.58 (Ma 2024): RoundClip(W / g, -1, 1) with g = mean(abs(W)); three levels, stored in 2 bits.

    Modelled: the weights and their straight-through gradient. Not modelled: the 8-bit activations with one absmax
    a token, the normalisation before each linear layer, and training as a language model. The original adds a
    small epsilon to g; here g is only kept from zero.
    """

    scale_invariant = True

    def __init__(self, weight: Tensor) -> None:
        """``weight`` gives nothing here."""
        super().__init__(bit_width=2)

    def clip_bound(self, weight: Tensor) -> Tensor:
        """Mean magnitude now; the largest code is 1, so it is the width of a level as well."""
        return nonzero(weight.detach().abs().mean())


class WageQuantizer(FixedClipQuantizer):
    """WAGE (Wu 2018): fixed-point weights on the grid sigma = 2^(1-k), clipped to +-(1 - sigma).

    WAGE draws weights of layers with a wide fan-in too large for their signals, within +-1.5 sigma at least, so that
    they cover some levels, and divides the layer's output by a power of two, a = max(Shift(1.5 sigma / L), 1), L the
    limit of the uniform distribution that the fan-in asks for (section 3). Here the weights keep their
    size and the grid is divided by a, which is the same network; L is taken from the initial weight's root mean
    square.

    Modelled: the weights in the forward pass. Not modelled: the 8-bit stored weights with stochastically rounded
    updates (latent weights are FP32), 8-bit activations, errors and gradients, and plain SGD without batch norm.
    The original has 2-bit weights.
    """

    def __init__(self, weight: Tensor, bit_width: int) -> None:
        """``weight`` is the layer's initial weight, which fixes the shift for good."""
        sigma = 2.0 ** (1 - bit_width)
        limit = max(math.sqrt(3 * weight.detach().square().mean().item()), 1e-8)
        shift = max(2.0 ** round(math.log2(1.5 * sigma / limit)), 1.0)
        super().__init__(weight, bit_width, clip=(1 - sigma) / shift)
