"""Block reconstruction after BRECQ (Li et al. 2021): roundings of several layers learned together."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from repro.errors import ReproError
from repro.ptq.adaround import SoftRounding, learn_roundings
from repro.ptq.calibration import require_images
from repro.quant import QuantConv2d, QuantLinear, quant_layers

BATCH = 32
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def block_reconstruction(model: nn.Module, images: Tensor | None, bit_width: int, iterations: int) -> None:
    """Learn the roundings of each block, so that the block's output on ``images`` changes least.

    AdaRound's variable and regulariser, but the error is that of a whole block's output against the unquantised
    network's, with the inputs that the quantised blocks before give: a residual or transformer block, or the layers
    between two poolings, with their batch norms and activation functions. Checked against the official code
    (yhhhli/BRECQ).

    Deviations: the plain squared error in place of the Fisher-weighted one (their code's default, not their paper's
    choice), 32 images a step as theirs but fewer and larger steps, as ``adaround`` here, and all layers at
    ``bit_width`` where they keep the first and the last at 8. Not modelled: mixed precision, activations.

    Args:
        model: Trained FP32 model; changed in place.
        images: Calibration images [N, C, H, W].
        bit_width: Bits a weight.
        iterations: Steps of Adam a block.

    Raises:
        ReproError: If there are no images, or the model is no row of modules in ``model.layers``.
    """
    images = require_images(images, "brecq")
    generator = torch.Generator().manual_seed(0)
    inputs = target = images
    for block in blocks(model):
        target = _output(copy.deepcopy(block), target)
        _reconstruct(block, inputs, target, bit_width, iterations, generator)
        inputs = _output(block, inputs)


def blocks(model: nn.Module) -> Iterator[nn.Sequential]:
    """The model as rows of its modules, which are reconstructed one after the other.

    Raises:
        ReproError: If it is no row of modules in ``model.layers``.
    """
    layers = getattr(model, "layers", None)
    if not isinstance(layers, nn.Sequential):
        raise ReproError(f"PTQ method brecq: {type(model).__name__} is no row of modules in `layers`, so has no blocks")
    row: list[nn.Module] = []
    ended = False
    for module in layers.children():
        several = len(quant_layers(module)) > 1
        if row and (several or (ended and isinstance(module, QuantConv2d | QuantLinear))):
            yield nn.Sequential(*row)
            row, ended = [], False
        row.append(module)
        ended = ended or several or isinstance(module, POOLING)
    yield nn.Sequential(*row)


def _reconstruct(
    block: nn.Sequential, inputs: Tensor, target: Tensor, bit_width: int, iterations: int, generator: torch.Generator
) -> None:
    layers = list(quant_layers(block).values())
    roundings = [SoftRounding(layer.weight.detach(), bit_width) for layer in layers]
    for layer, rounding in zip(layers, roundings, strict=True):
        layer.weight_quantizer = rounding

    def error() -> Tensor:
        rows = torch.randperm(len(inputs), generator=generator)[:BATCH].to(inputs.device)
        loss: Tensor = (block(inputs[rows]) - target[rows]).square().sum(1).mean()
        return loss

    learn_roundings(roundings, error, iterations)
    for layer, rounding in zip(layers, roundings, strict=True):
        rounding.harden(layer)


@torch.no_grad()
def _output(block: nn.Sequential, inputs: Tensor) -> Tensor:
    return torch.cat([block(part) for part in torch.split(inputs, 4 * BATCH)])
