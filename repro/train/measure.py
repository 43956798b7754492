"""What is measured of a model besides its accuracy: layer figures, sizes, FLOPs, histograms."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repro.data.types import Shape
from repro.quant import QuantLayer, count_levels, mean_scale, quant_layers
from repro.quant.measures import code_entropy, condition_number

HISTOGRAM_BINS = 61
BYTES_PER_FLOAT = 4
PRODUCTS = (nn.Conv2d, nn.Linear)
QUANTIZER_STATE = "_quantizer."  # in the names of what a layer's quantisers hold


def layer_rows(model: nn.Module, moved: list[Tensor], epoch: int) -> list[dict[str, Any]]:
    """Rows of ``layers.csv`` for one epoch.

    Args:
        model: The model at the end of the epoch.
        moved: One tensor a layer: how far the weight clip moved each weight in this epoch, in weight units.
        epoch: Number of the epoch, from 1.
    """
    rows = []
    for (name, layer), distance in zip(quant_layers(model).items(), moved, strict=True):
        scale = mean_scale(layer)
        rows.append(
            {
                "epoch": epoch,
                "layer": short_name(name),
                "levels": count_levels(layer),
                "scale": _digits(scale),
                "max_abs_weight": _digits(layer.weight.detach().abs().max().item()),
                "shrink_mean_steps": None if scale is None else _digits(distance.mean().item() / scale),
                "shrink_max_steps": None if scale is None else _digits(distance.max().item() / scale),
            }
        )
    return rows


def describe_layers(model: nn.Module) -> list[dict[str, Any]]:
    """The record's ``layers``: shape, levels, scale, entropy of the codes in bits, condition, histogram of weights."""
    return [_describe_layer(short_name(name), layer) for name, layer in quant_layers(model).items()]


def _describe_layer(name: str, layer: QuantLayer) -> dict[str, Any]:
    weight = layer.weight.detach().float().cpu()
    limit = weight.abs().max().item() or 1.0
    finite = bool(torch.isfinite(weight).all())
    counts: Sequence[Any] | Tensor
    edges: Sequence[Any] | Tensor
    counts, edges = (
        torch.histogram(weight.flatten(), bins=HISTOGRAM_BINS, range=(-limit, limit)) if finite else ([], [])
    )
    return {
        "name": name,
        "shape": list(weight.shape),
        "weights": weight.numel(),
        "quantized": layer.weight_quantizer is not None,
        "levels": count_levels(layer) if finite else None,
        "scale": _digits(mean_scale(layer)) if finite else None,
        "max_abs_weight": _digits(limit) if finite else None,
        "code_entropy": _digits(code_entropy(layer)),
        "condition_number": _digits(condition_number(layer)),
        "histogram": {
            "edges": [_digits(float(edge)) for edge in edges],
            "counts": [int(count) for count in counts],
        },
    }


def model_sizes(model: nn.Module) -> dict[str, int]:
    """Bytes in FP32, by the paper's count (table VI), and as a file that really holds the codes.

    The paper counts every parameter at the weights' bit width and no scales (table VI). Packed
    are the quantised weights at their bit width, and everything else in FP32: biases, batch norm
    parameters and statistics (its step counter too, 8 bytes each), every scale of the quantised layers'
    weights, and what the quantisers of inputs hold (a learned step or clip).
    """
    layers = list(quant_layers(model).values())
    quantized = {layer: layer.weight_quantizer for layer in layers if layer.weight_quantizer is not None}
    parameters = _count_network_parameters(model)
    bits = max((quantizer.bit_width for quantizer in quantized.values()), default=32)
    packed_weights = sum(-(-layer.weight.numel() * q.bit_width // 8) for layer, q in quantized.items())
    others = parameters - sum(layer.weight.numel() for layer in quantized)
    scales = sum(quantizer.scale(layer.weight).numel() for layer, quantizer in quantized.items())
    statistics = sum(buffer.nbytes for name, buffer in model.named_buffers() if QUANTIZER_STATE not in name)
    inputs = [layer.input_quantizer.state_dict() for layer in layers if layer.input_quantizer is not None]
    input_state = sum(tensor.nbytes for state in inputs for tensor in state.values())
    return {
        "fp32_bytes": BYTES_PER_FLOAT * parameters,
        "paper_bytes": -(-parameters * bits // 8),
        "packed_bytes": packed_weights + BYTES_PER_FLOAT * (others + scales) + statistics + input_state,
    }


def count_parameters(model: nn.Module) -> dict[str, int]:
    """All parameters of the network, and the weights that pass through a quantiser."""
    quantized = [layer.weight.numel() for layer in quant_layers(model).values() if layer.weight_quantizer is not None]
    return {"parameters": _count_network_parameters(model), "quantized_weights": sum(quantized)}


def _count_network_parameters(model: nn.Module) -> int:
    """Without learned steps and clips, which belong to the quantisers."""
    return sum(p.numel() for name, p in model.named_parameters() if QUANTIZER_STATE not in name)


@torch.no_grad()
def count_flops(model: nn.Module, image_shape: Shape) -> dict[str, float]:
    """FLOPs an image of a forward pass and of a whole step (forward and backward): those of the products alone.

    As torch's counter counts them, whose import costs a start as much as torch itself. The backward pass has a
    product for each layer's weight and one for its input, but for the images, which have no gradient.
    """
    layers: list[int] = []  # FLOPs of each

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        layers.append(2 * output[0].numel() * layer.weight[0].numel())  # type: ignore[index]

    handles = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, PRODUCTS)]
    training = model.training
    model.eval()  # batch norm statistics stay as they are
    model(torch.zeros(2, *image_shape, device=next(model.parameters()).device))
    model.train(training)
    for handle in handles:
        handle.remove()
    forward = float(sum(layers))
    return {"forward_flops_per_image": forward, "step_flops_per_image": 3 * forward - layers[0]}


def rounded(row: Mapping[str, float]) -> dict[str, Any]:
    """All values to 8 significant digits: more than FP32 holds, and half the bytes."""
    return {key: _digits(value) for key, value in row.items()}


def short_name(layer: str) -> str:
    """``layers.conv1`` as ``conv1``: the whole path but for the attribute in which a model keeps its layers."""
    return layer.removeprefix("layers.")


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.8g}")
