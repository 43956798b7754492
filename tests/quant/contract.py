"""What every registered method promises, as checks that raise: one for a weight's quantiser, one for an input's.

They take over every method of a registry by themselves; only its options are made up, by ``example_options``.
"""

from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor

from repro.config.options import Option
from repro.config.registry import ACTIVATION_QUANTIZERS, QUANTIZERS
from repro.quant import ActivationQuantizer, WeightQuantizer
from tests.conftest import example_options

SHAPE = (24, 10, 3, 3)  # 2,160 weights: no multiple of 64, so a block method has a short last block
SHIFTS = (0.25, 4.0, 2.0**10)


def distributions() -> dict[str, Tensor]:
    """Weights of one shape: as trained layers have them, and at every edge."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(SHAPE, generator=generator)
    one = torch.zeros(SHAPE)
    one[3, 2, 1, 0] = -0.5
    return {
        "normal": 0.05 * normal,
        "uniform": torch.rand(SHAPE, generator=generator) - 0.5,
        "heavy-tailed": 0.01 * normal / torch.rand(SHAPE, generator=generator).clamp_min(1e-3),
        "large": 3 * normal,
        "constant": torch.full(SHAPE, -0.3),
        "one weight": one,
        "zero": torch.zeros(SHAPE),
        "tiny": 1e-30 * normal,
    }


def option_sets(options: Mapping[str, Option]) -> list[dict[str, object]]:
    """The example options, at 2, 4 and 8 bits where the method has a bit width."""
    example = example_options(options)
    return [{**example, "bit_width": bits} for bits in (2, 4, 8)] if "bit_width" in options else [example]


def ensure(condition: bool, message: str) -> None:
    """Fail with a message that names the promise."""
    if not condition:
        pytest.fail(message)


def check_weight_quantizer(name: str) -> None:
    """All promises of ``WeightQuantizer``, for one registered method."""
    for options in option_sets(QUANTIZERS[name].options):
        for kind, initial, weight in _initial_and_later():
            where = f"{name} {options}, {kind}"
            _check_values(QUANTIZERS[name](initial, **options), weight, where)
        _check_scale_invariance(name, options)


def _initial_and_later() -> Iterator[tuple[str, Tensor, Tensor]]:
    """The quantiser made for the weights it gets, and made for others that training has since replaced."""
    kinds = distributions()
    for kind, weight in kinds.items():
        yield kind, weight, weight
        yield f"{kind} after normal", kinds["normal"], weight
        yield f"{kind} after zero", kinds["zero"], weight


def _check_values(quantizer: WeightQuantizer, weight: Tensor, where: str) -> None:
    if quantizer.noisy:
        _check_noise(quantizer, weight, where)
        quantizer.eval()
    latent = weight.clone().requires_grad_()
    result = quantizer(latent)
    ensure(result.shape == weight.shape and result.dtype == weight.dtype, f"{where}: shape or dtype changed")
    ensure(bool(torch.isfinite(result).all()), f"{where}: a weight is not finite")
    codes, scale = quantizer.codes(latent)
    ensure(codes.dtype == torch.int8 and codes.shape == weight.shape, f"{where}: codes are not int8 of the same shape")
    levels = codes.unique()
    ensure(len(levels) <= quantizer.max_levels, f"{where}: {len(levels)} levels, declared {quantizer.max_levels}")
    half = 2 ** (quantizer.bit_width - 1)
    ensure(-half <= int(levels[0]) and int(levels[-1]) < half, f"{where}: codes need more than bit_width bits")
    exact = torch.equal(quantizer.dequantize(codes, scale), result.detach())
    ensure(exact, f"{where}: codes and scale do not stand for the weights of the forward pass")
    result.backward(torch.ones_like(result))
    gradients = [latent.grad, *(parameter.grad for parameter in quantizer.parameters())]
    finite = all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)
    ensure(finite, f"{where}: a gradient is missing or not finite")
    ensure(torch.equal(latent.detach(), weight), f"{where}: the latent weight was changed")


def _check_noise(quantizer: WeightQuantizer, weight: Tensor, where: str) -> None:
    """In training: numbers of the weight's shape, other ones each time, with a gradient that is a number."""
    latent = weight.clone().requires_grad_()
    once, again = quantizer(latent), quantizer(latent)
    ensure(once.shape == weight.shape and once.dtype == weight.dtype, f"{where}: shape or dtype changed by noise")
    ensure(bool(torch.isfinite(once).all()), f"{where}: a weight with noise is not finite")
    ensure(not (weight.any() and torch.equal(once, again)), f"{where}: says that it is noisy, and is not")
    once.backward(torch.ones_like(once))
    ensure(bool(torch.isfinite(latent.grad).all()), f"{where}: a gradient in training is not finite")


def _check_scale_invariance(name: str, options: Mapping[str, object]) -> None:
    """Where a method claims it, codes stay under powers of two; where it denies it, some code moves."""
    moved = []
    for kind in ("normal", "uniform", "heavy-tailed", "large"):
        weight = distributions()[kind]
        quantizer = QUANTIZERS[name](weight, **options)
        codes, _ = quantizer.codes(weight)
        moved += [(kind, shift) for shift in SHIFTS if not torch.equal(quantizer.codes(weight * shift)[0], codes)]
    claimed = QUANTIZERS[name].code.scale_invariant
    where = f"{name} {options}"
    ensure(not (claimed and moved), f"{where}: claims scale invariance, but codes moved for {moved}")
    ensure(claimed or bool(moved), f"{where}: denies scale invariance, but no code moved")


def check_activation_quantizer(name: str) -> None:
    """All promises of ``ActivationQuantizer``, for one registered method."""
    for options in option_sets(ACTIVATION_QUANTIZERS[name].options):
        for kind, values in distributions().items():
            for training in (True, False):
                where = f"{name} {options}, {kind}, {'training' if training else 'evaluation'}"
                quantizer = ACTIVATION_QUANTIZERS[name](**options).train(training)
                _check_activations(quantizer, values.relu(), where)
                _check_activations(quantizer, 100 * values, f"{where}, then larger and negative")


def _check_activations(quantizer: ActivationQuantizer, values: Tensor, where: str) -> None:
    inputs = values.clone().requires_grad_()
    quantizer.zero_grad()
    result = quantizer(inputs)
    codes, scale = quantizer.codes(values)
    ensure(result.shape == values.shape and result.dtype == values.dtype, f"{where}: shape or dtype changed")
    ensure(codes.dtype == torch.uint8, f"{where}: codes are not uint8")
    levels = result.detach().unique()
    ensure(len(levels) <= quantizer.max_levels, f"{where}: {len(levels)} levels, declared {quantizer.max_levels}")
    ensure(quantizer.max_levels <= 2**quantizer.bit_width, f"{where}: codes need more than bit_width bits")
    ensure(bool((levels >= 0).all()), f"{where}: a level is negative or not a number")
    ensure(torch.equal(codes * scale, result.detach()), f"{where}: codes times scale are not the forward pass")
    ensure(torch.equal(values, inputs.detach()), f"{where}: the input was changed in place")
    result.backward(torch.ones_like(result))
    gradients = [inputs.grad, *(parameter.grad for parameter in quantizer.parameters())]
    finite = all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)
    ensure(finite, f"{where}: a gradient is missing or not finite")
    half = quantizer(values.bfloat16())
    ensure(half.dtype == torch.bfloat16, f"{where}: bfloat16 does not stay bfloat16")
    ensure(len(half.unique()) <= quantizer.max_levels, f"{where}: more levels in bfloat16 than declared")
