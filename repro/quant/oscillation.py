"""Weights that go back and forth between two levels (Nagel et al. 2022): two remedies, and how many there are."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from repro.quant.functional import fake_quantize
from repro.quant.layers import QuantLayer
from repro.quant.uniform import AbsmaxQuantizer

MOMENTUM = 0.01  # of the frequency's moving average; the official code's
OSCILLATES = 0.005  # frequency above which a weight counts as oscillating (section 2.3 and table 1)


class _Dampened(torch.autograd.Function):
    """The paper's Q(W) forwards; backwards the gradient of l |Q(W) - W|^2 comes on top."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, quant_max: int, strength: float) -> Tensor:
        result = fake_quantize(weight, scale, quant_max)
        ctx.save_for_backward(weight - result)
        ctx.strength = strength
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (error,) = ctx.saved_tensors
        return gradients[0] + 2 * ctx.strength * error, None, None, None


class DampenedQuantizer(AbsmaxQuantizer):
    """The paper's absmax with oscillation dampening: a loss l |Q(W) - W|^2 draws weights to their levels (equation 5).

    Its gradient, 2 l (W - Q(W)) with the levels held, is added in the backward pass: the same step, and the loss that
    is reported stays that of the task. No weight is clipped by absmax, so that the original's clip is the identity.

    Modelled: the loss, the sum over weights, checked against the official code (Qualcomm-AI-research/oscillations-qat).
    Not modelled: its strength that rises along a cosine from 0 (here it is l throughout), the learned step of LSQ under
    it, the trained FP32 network that all of its runs start from, and batch norm's statistics, which the original
    estimates anew before an evaluation.
    """

    def __init__(self, weight: Tensor, bit_width: int, strength: float) -> None:
        """``strength`` is l: 0.1 at the end of the original's runs, with SGD."""
        super().__init__(weight, bit_width)
        self.strength = strength

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights, ``weight``'s shape."""
        result: Tensor = _Dampened.apply(weight, self.scale(weight), self.quant_max, self.strength)
        return result


class Oscillations(torch.nn.Module):
    """How often each weight's code turns back, as a moving average over steps (equations 6 and 7).

    A step in which the code changes against the direction of its last change is an oscillation.
    """

    before: Tensor
    direction: Tensor
    frequency: Tensor
    started: Tensor

    def __init__(self, weight: Tensor) -> None:
        """For codes of ``weight``'s shape."""
        super().__init__()
        codes = torch.zeros_like(weight, dtype=torch.int8, requires_grad=False)
        self.register_buffer("before", codes)
        self.register_buffer("direction", codes.clone())
        self.register_buffer("frequency", torch.zeros_like(weight, requires_grad=False))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool, device=weight.device))

    @torch.no_grad()
    def update(self, codes: Tensor) -> None:
        """Take the codes of one more step; the first ones only start it."""
        change = torch.sign(codes.short() - self.before).to(torch.int8).mul_(self.started)
        turned = change * self.direction == -1
        self.frequency.lerp_(turned.to(self.frequency), MOMENTUM)
        self.direction.copy_(torch.where(change != 0, change, self.direction))
        self.before.copy_(codes)
        self.started.fill_(True)


class FreezingQuantizer(AbsmaxQuantizer):
    """The paper's absmax with iterative weight freezing: a weight that oscillates too often keeps its code.

    Algorithm 1: it is frozen for good, at the rounded moving average of its codes, and its latent weight gets no
    gradient of the task any more. The width of a level still follows the layer's largest weight.

    Modelled: frequency, threshold and frozen code, checked against the official code. Not modelled: the threshold that
    falls along a cosine, from 0.1 to 0.01 at 4 bits (here it is one throughout, from the first step), the trained FP32
    network that it starts from (from random weights a low threshold freezes many at what the first epochs' noise made
    of them), the learned step of LSQ under it, and batch norm's statistics, which the original estimates anew before an
    evaluation.
    """

    frozen: Tensor
    frozen_code: Tensor
    mean_code: Tensor

    def __init__(self, weight: Tensor, bit_width: int, threshold: float) -> None:
        """``threshold`` on the frequency, at least two or three times ``MOMENTUM`` by the official code's advice."""
        super().__init__(weight, bit_width)
        self.threshold = threshold
        self.oscillations = Oscillations(weight)
        codes = torch.zeros_like(weight, dtype=torch.int8, requires_grad=False)
        self.register_buffer("frozen_code", codes)
        self.register_buffer("frozen", codes.bool())
        self.register_buffer("mean_code", torch.zeros_like(weight, requires_grad=False))

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised weights; in training every call is a step."""
        free, scale = super().codes(weight)
        if self.training:
            self._observe(torch.where(self.frozen, self.frozen_code, free))
        kept = self.frozen_code * scale
        return torch.where(self.frozen, kept, super().forward(weight))

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes, the frozen ones among them, and the width of one level."""
        free, scale = super().codes(weight)
        return torch.where(self.frozen, self.frozen_code, free), scale

    @torch.no_grad()
    def _observe(self, codes: Tensor) -> None:
        share = torch.where(self.oscillations.started, MOMENTUM, 1.0)
        self.oscillations.update(codes)
        newly = (self.oscillations.frequency > self.threshold) & ~self.frozen
        self.frozen_code.copy_(torch.where(newly, self.mean_code.round().to(torch.int8), self.frozen_code))
        self.frozen |= newly
        self.mean_code.lerp_(codes.to(self.mean_code), share)  # after: the mean of the steps before this one counts


class OscillationWatch:
    """Counts oscillating weights of all quantised layers of a model, whatever their method."""

    def __init__(self, layers: Iterable[QuantLayer]) -> None:
        """Watch the quantised ones of ``layers``."""
        self._layers = [layer for layer in layers if layer.weight_quantizer is not None]
        self._counts = [Oscillations(layer.weight.detach()) for layer in self._layers]

    @torch.no_grad()
    def update(self) -> None:
        """Take the codes after a step."""
        for layer, count in zip(self._layers, self._counts, strict=True):
            assert layer.weight_quantizer is not None
            count.update(layer.weight_quantizer.codes(layer.weight)[0])

    def restart(self) -> None:
        """Forget all steps so far."""
        for count in self._counts:
            for tensor in count.buffers():
                tensor.zero_()

    def share(self) -> float | None:
        """Share of weights whose frequency is above ``OSCILLATES``; ``None`` where nothing was watched."""
        seen = [count for count in self._counts if bool(count.started)]
        if not seen:
            return None
        oscillating = sum(int((count.frequency > OSCILLATES).sum()) for count in seen)
        return oscillating / sum(count.frequency.numel() for count in seen)

    def state(self) -> list[dict[str, Any]]:
        """To go on from."""
        return [dict(count.state_dict()) for count in self._counts]

    def load(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Go on from ``state()``."""
        for count, kept in zip(self._counts, state, strict=True):
            count.load_state_dict(kept)
