"""8-bit quantisation-aware training, the standard recipe: INT8 weights and activations, batch norm folded.

The recipe is that of Jacob et al. 2018 ("Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference") and Krishnamoorthi 2018 ("Quantizing deep convolutional networks for
efficient inference"). Brevitas does the arithmetic of the fake quantisation. It has no affine quantiser whose
range is a moving average (its running statistics scale, but shift not; a training batch is quantised with its own
range; and the step counter is not in the state, so that a resumed run starts over), so that one observer is here.

Where this departs from the two papers:

- Every convolution and linear layer quantises its *input*, the images too; the logits stay FP32, and so do the
  biases (32-bit integers in the papers). The last layer's input is observed after dropout, which doubles what it
  keeps: in evaluation half of that range is unused.
- Activations are quantised from the first step on (Jacob delays it), and the batch norm statistics are never frozen
  (Krishnamoorthi freezes them near the end): the runs here have a few thousand steps at most scales.
- At precision bf16 the quantiser still computes in FP32, but autocast rounds its result to bfloat16 for the layer.
  Its 8 significant bits hold every code, not every code times a scale: near the ends of the range an activation is
  off by up to half a level. At precision fp32 it is exact.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from repro.errors import ReproError
from repro.quant.base import WeightQuantizer
from repro.quant.sequence import model_sequence

BITS = 8
# Share of a new batch in the moving range: 100 batches' memory. Jacob (section 3.1) smooths over thousands of steps,
# which is more than a run at the small scales has.
MOMENTUM = 0.01
# Narrowest range and smallest folding factor: no division by zero where a channel, or a whole input, has died.
RANGE_FLOOR = 1e-8
FACTOR_FLOOR = 1e-5

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


class Int8QatQuantizer(WeightQuantizer):
    """Per-channel symmetric INT8 weights (-127..127), with the batch norm that follows folded in.

    What is quantised is the folded weight W gamma / sigma, sigma from the running variance (Krishnamoorthi,
    section 3.2.2; Jacob, section 3.2, takes the batch's sigma, which makes the codes jitter). The layer then
    computes with Q(W gamma / sigma) sigma / gamma, and the batch norm after it normalises with the batch's own
    statistics: the same correction as multiplying by sigma / sigma_batch, with one convolution a step where
    Krishnamoorthi's graph has two, so the batch statistics are those of the quantised convolution.

    One scale a channel makes Q commute with a factor a channel, so in exact arithmetic folding changes no weight
    that the layer computes with ("independent of the batch-norm scaling", Krishnamoorthi, section 3.1); what it
    changes is the scale of the integers that would be deployed. The factor gets no gradient for the same reason.
    Its sign is left out: the codes are symmetric.

    The gradient is straight-through; Brevitas also differentiates a channel's scale, through its largest weight.
    """

    scale_invariant = True

    def __init__(self, weight: Tensor) -> None:
        """``weight`` is the layer's initial weight, output channels first.

        Raises:
            ReproError: If Brevitas is not installed.
        """
        super().__init__(BITS, max_levels=2**BITS - 1)
        self.brevitas = _weight_quantizer(weight)
        # In a tuple, so that the batch norm is no second submodule: the state has its keys once
        self._batch_norm: tuple[BatchNorm, ...] = ()

    @staticmethod
    def equip(model: nn.Module) -> None:
        """Fold each batch norm into the layer before it, and quantise the input of every quantised layer.

        Raises:
            ReproError: If the model does not say which batch norm follows which layer.
        """
        for stage in model_sequence(model):
            if isinstance(stage.layer.weight_quantizer, Int8QatQuantizer):
                stage.layer.input_quantizer = MovingRangeQuantizer()
                stage.layer.weight_quantizer._batch_norm = () if stage.norm is None else (stage.norm,)

    def folding_factor(self, weight: Tensor) -> Tensor:
        """|gamma| / sigma of the batch norm that follows, 1 without one; broadcasts to ``weight``."""
        if not self._batch_norm:
            return torch.ones((), dtype=weight.dtype, device=weight.device)
        (batch_norm,) = self._batch_norm
        assert batch_norm.running_var is not None
        factor = batch_norm.weight.detach().abs() * torch.rsqrt(batch_norm.running_var + batch_norm.eps)
        return factor.clamp(min=FACTOR_FLOOR).view(-1, *[1] * (weight.dim() - 1))

    def scale(self, weight: Tensor) -> Tensor:
        """Width of one level of each channel, [C, 1, ...], in units of the unfolded weight."""
        return self._quantize(weight)[1]

    def forward(self, weight: Tensor) -> Tensor:
        """Dequantised, unfolded weights; same shape as ``weight``."""
        codes, scale = self._quantize(weight)
        return codes * scale

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes and scales of the unfolded weight; times ``folding_factor``, those of the folded one."""
        codes, scale = self._quantize(weight)
        return codes.to(torch.int8), scale

    def _quantize(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        factor = self.folding_factor(weight)
        folded = weight * factor
        quantizer = self.brevitas
        bits = quantizer.msb_clamp_bit_width_impl()
        scale = quantizer.scaling_impl(folded, quantizer.int_scaling_impl(bits))
        zero_point = quantizer.zero_point_impl(folded, scale, bits)
        codes: Tensor = quantizer.int_quant.to_int(scale, zero_point, bits, folded)
        return codes, scale / factor


class MovingRangeQuantizer(nn.Module):
    """Per-tensor affine 8-bit fake quantisation; the range is a moving average of batch minimum and maximum.

    In training each batch first moves the range (Krishnamoorthi, section 3.1; Jacob, section 3.1), then is
    quantised with it; in evaluation the range stands still. Gradients outside the range are zero.

    Attributes:
        low: Moving average of the batches' minima.
        high: The same of their maxima.
        batches: Batches seen; the first one sets the range.
    """

    low: Tensor
    high: Tensor
    batches: Tensor
    bits: Tensor

    def __init__(self) -> None:
        """Nothing observed yet.

        Raises:
            ReproError: If Brevitas is not installed.
        """
        super().__init__()
        self.bit_width = BITS
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("bits", torch.tensor(float(BITS)), persistent=False)
        self.brevitas = _activation_quantizer()

    def forward(self, activations: Tensor) -> Tensor:
        """Dequantised activations, FP32 whatever the dtype of ``activations``; same shape."""
        if self.training:
            self._observe(activations.detach())
        scale, zero_point = self.scale_and_zero_point()
        result: Tensor = self.brevitas(scale, zero_point, self.bits, activations.float())
        return result

    def scale_and_zero_point(self) -> tuple[Tensor, Tensor]:
        """Width of one level and the code of zero, scalars; the range is widened to hold zero exactly."""
        low, high = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        scale = (high - low).clamp(min=RANGE_FLOOR) / (2**BITS - 1)
        return scale, torch.round(-low / scale)

    @torch.no_grad()
    def _observe(self, activations: Tensor) -> None:
        low, high = torch.aminmax(activations)
        share = torch.where(self.batches == 0, 1.0, MOMENTUM)  # on the device: no synchronisation
        self.low.lerp_(low.float(), share)
        self.high.lerp_(high.float(), share)
        self.batches += 1


def _weight_quantizer(weight: Tensor) -> Any:
    """Brevitas' ``Int8WeightPerChannelFloat`` for a weight with output channels first."""
    try:
        from brevitas.quant import Int8WeightPerChannelFloat
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    layer = SimpleNamespace(weight=weight, out_channels=len(weight), output_channel_dim=0)
    return Int8WeightPerChannelFloat.let(module=layer, tracked_parameter_list=[weight]).tensor_quant


def _activation_quantizer() -> Any:
    """Brevitas' integer quantiser for codes 0..255 with a zero point."""
    try:
        from brevitas.core.function_wrapper import Identity
        from brevitas.core.quant import IntQuant
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    return IntQuant(signed=False, narrow_range=False, input_view_impl=Identity())


def _missing(error: ModuleNotFoundError) -> ReproError:
    return ReproError(
        f"quantizer int8_qat needs Brevitas ({error}): python -m pip install -c constraints.txt brevitas; "
        "every other method trains without it"
    )
