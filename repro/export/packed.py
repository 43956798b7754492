"""A trained model as one safetensors file that really holds 4-bit weights, and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repro.config import complete_spec
from repro.config.registry import DATASETS, MODELS, QUANTIZERS
from repro.config.spec import Spec, split_options
from repro.data.types import Shape
from repro.errors import ReproError
from repro.export.bits import code_range, pack_codes, unpack_codes
from repro.ptq.restore import scale_shapes
from repro.quant import FrozenQuantizer, QuantLayer, WeightQuantizer, effective_weight, quant_layers
from repro.records.files import read_regular
from repro.records.integrity import NO_STAMP, DamagedError, check_stamp, stamped
from repro.text import printable, shown
from repro.train.build import build_model
from repro.train.files import tensors_digest

FORMAT, FORMAT_VERSION = "repro packed weights", 2
UNSTAMPED = 1  # the version before files had a checksum of all their bytes, not of their tensors alone
METADATA_KEY = "repro"  # one key: safetensors keeps several in no fixed order, and the bytes would differ
LARGEST_IMAGE = 4096  # pixels a side
CODES, SCALE = ".weight.codes", ".weight.scale"


class ExportError(ReproError):
    """A model cannot be written as a file, or a file is none of this suite's."""


class PackedQuantizer(FrozenQuantizer):
    """A layer's codes and scale as a file holds them, turned into weights by the method that made them."""

    def __init__(self, codes: Tensor, scale: Tensor, bit_width: int, method: WeightQuantizer | None) -> None:
        """``method`` dequantises; without one a weight is its code times the scale."""
        super().__init__(codes, scale, bit_width)
        self.method = method

    def dequantize(self, codes: Tensor, scale: Tensor) -> Tensor:
        """As the method does, so that tables of levels and block scales come back too."""
        return super().dequantize(codes, scale) if self.method is None else self.method.dequantize(codes, scale)


@dataclass(frozen=True)
class PackedModel:
    """A file read back.

    Attributes:
        model: In evaluation mode, channels last, with a ``PackedQuantizer`` in each quantised layer.
        record: The run's record without its ``layers``; its ``spec`` is complete.
    """

    model: nn.Module
    record: Mapping[str, Any]


def pack_model(model: nn.Module, record: Mapping[str, Any]) -> bytes:
    """A trained model as the bytes of a safetensors file; the same model gives the same bytes.

    Each quantised layer becomes ``<layer>.weight.codes`` (uint8, ``repro.export.bits.pack_codes``) and
    ``<layer>.weight.scale`` (FP32, as the method gives it). All else keeps its name and type in the
    state: biases, batch norm's parameters and statistics, weights of layers without a quantiser. The metadata
    say how many bits a code has, and the weight's shape, for each quantised layer.

    Args:
        model: The trained model.
        record: The run's record as a mapping, with ``spec`` and ``data`` at least; kept as metadata.

    Raises:
        ExportError: If a layer's codes and scale do not give its weights back bit for bit.
    """
    from safetensors.torch import save

    _refresh(model, recorded_shape(record))
    state = model.state_dict()
    layers, tensors = {}, {name: state[name].contiguous() for name in unquantized_names(model)}
    for name, layer in quantized_layers(model).items():
        codes, scale, bits = *layer_codes(name, layer), layer_bits(layer)
        check_range(name, codes, bits)
        layers[name] = {"bit_width": bits, "shape": list(codes.shape), "quantizer": _method_name(layer)}
        packed = pack_codes(codes.contiguous().numpy(), bits)
        tensors |= {name + CODES: torch.from_numpy(packed), name + SCALE: scale.contiguous()}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "stamp": NO_STAMP,
        "sha256": tensors_digest(tensors),
        "layers": layers,
        "record": {key: value for key, value in record.items() if key != "layers"},  # histograms: report's alone
    }
    return stamped(save(tensors, {METADATA_KEY: json.dumps(metadata, separators=(",", ":"))}))


def load_packed(path: str | Path) -> PackedModel:
    """Read a file that ``pack_model`` made.

    Raises:
        ExportError: If it is absent, damaged, or not such a file; the message says which and what is wrong.
    """
    tensors, metadata = _read(Path(path))
    try:
        record = complete_record(metadata["record"])
        classes, shape = record["data"]["classes"], recorded_shape(record)
        _check_size(record["spec"], classes, shape, tensors)
        model = build_model(record["spec"], classes, shape)
        _fill(model, tensors, metadata["layers"])
    except ReproError as error:
        raise ExportError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError, OverflowError) as error:
        reason = f"its metadata and its weights do not fit ({printable(error)})"
        raise ExportError(f"{path}: {reason}; export the run again") from None
    model.to(memory_format=torch.channels_last)
    return PackedModel(model.eval(), record)


def complete_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a file's metadata hold it, its spec completed."""
    return {**record, "spec": complete_spec(record["spec"])}


def payload_bytes(content: bytes) -> int:
    """Bytes of a safetensors file that hold tensors; the rest is its header with the metadata."""
    return len(content) - 8 - int.from_bytes(content[:8], "little")


def quantized_layers(model: nn.Module) -> dict[str, QuantLayer]:
    """The layers that have a weight quantiser, by name, in forward order."""
    return {name: layer for name, layer in quant_layers(model).items() if layer.weight_quantizer is not None}


def layer_bits(layer: QuantLayer) -> int:
    """Bits a code of a quantised layer."""
    assert layer.weight_quantizer is not None
    return layer.weight_quantizer.bit_width


def unquantized_names(model: nn.Module) -> list[str]:
    """Names in the state of all that a file holds besides codes and scales."""
    layers = quantized_layers(model)
    inside = tuple(f"{name}.weight_quantizer." for name in layers)
    latent = {f"{name}.weight" for name in layers}
    return [name for name in model.state_dict() if name not in latent and not name.startswith(inside)]


@torch.no_grad()
def layer_codes(name: str, layer: QuantLayer) -> tuple[Tensor, Tensor]:
    """A layer's int8 codes and scale on the CPU, checked to give its weights back.

    Raises:
        ExportError: If they do not, so that no file of them would be the trained layer.
    """
    quantizer = layer.weight_quantizer
    assert quantizer is not None
    weight = effective_weight(layer)
    if not torch.isfinite(weight).all():
        raise ExportError(f"layer {name} holds weights that are no numbers: a diverged run has nothing to export")
    codes, scale = quantizer.codes(layer.weight)
    if not torch.equal(quantizer.dequantize(codes, scale), weight):
        raise ExportError(f"layer {name}: {_method_name(layer)} cannot be exported, its codes do not give its weights")
    return codes.cpu(), scale.detach().cpu()


def recorded_shape(record: Mapping[str, Any]) -> Shape:
    """Channels, height and width of the images of a record; older records know their data set's name alone."""
    shape = record["data"].get("image_shape") or DATASETS[record["spec"]["dataset"]["name"]].image_shape
    channels, height, width = shape
    if not all(type(side) is int and 0 < side <= LARGEST_IMAGE for side in shape):
        raise ValueError(f"no image is {shown(shape)}")
    return channels, height, width


def check_range(name: str, codes: Tensor, bits: int) -> None:
    """Raise ``ExportError`` unless the codes of layer ``name`` fit so many bits."""
    low, high = int(codes.min()), int(codes.max())
    least, most = code_range(bits)
    if low < least or high > most:
        raise ExportError(f"layer {name}: codes {low} to {high} do not fit {bits} bits")


def _refresh(model: nn.Module, image_shape: Shape) -> None:
    """One forward pass, after which a quantiser that shares a bound between layers has the present one."""
    training = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, *image_shape, device=next(model.parameters()).device))
    model.train(training)


def _method_name(layer: QuantLayer) -> str:
    """The registry's name of a layer's quantiser, or its class."""
    kind = type(layer.weight_quantizer)
    return next((name for name, method in QUANTIZERS.items() if method.code is kind), kind.__name__)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        content = read_regular(path)
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (a handle, not a mapping)
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise ExportError(f"{path}: not a readable safetensors file ({printable(error)})") from None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ExportError(f"{path}: a safetensors file, but not one that `python -m repro export` wrote")
    version = metadata.get("format_version")
    if version not in (UNSTAMPED, FORMAT_VERSION):
        reason = f"format version {shown(version)}, this suite reads {FORMAT_VERSION}"
        raise ExportError(f"{path}: {reason}; update the suite")
    try:
        if version != UNSTAMPED:
            check_stamp(content)
    except DamagedError as error:
        raise ExportError(f"{path}: {error}; export the run again") from None
    if metadata.get("sha256") != tensors_digest(tensors):
        raise ExportError(f"{path}: damaged, its weights are not those that were written; export the run again")
    return tensors, metadata


def _check_size(spec: Spec, classes: int, image_shape: Shape, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a model that is larger than the file's tensors can be, before it is built.

    Raises:
        ExportError: If it is.
    """
    name, options = split_options(spec["model"])
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in MODELS[name](classes, image_shape, **options).parameters())
    held = 8 * sum(tensor.nbytes for tensor in tensors.values())  # a bit a weight, at least
    if weights > held:
        raise ExportError(f"its metadata describe a model of {weights:,} weights, and it holds {held:,} bits")


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], layers: Mapping[str, Mapping[str, Any]]) -> None:
    """Put a file's tensors into a freshly built model."""
    found = quant_layers(model)
    for name, about in layers.items():
        layer, (bits, shape) = found[name], (about["bit_width"], about["shape"])
        method, scale = layer.weight_quantizer, tensors[name + SCALE]
        own = scale_shapes(layer.weight) if method is None else (method.scale(layer.weight).shape,)
        if bits not in range(1, 9) or shape != list(layer.weight.shape) or scale.shape not in own:
            raise ValueError(f"layer {name} cannot have {shown(bits)} bits, {shown(shape)} and such a scale")
        flat = unpack_codes(tensors[name + CODES].numpy(), int(np.prod(shape)), bits)
        codes = torch.from_numpy(flat).reshape(shape)
        layer.weight_quantizer = PackedQuantizer(codes, scale, bits, method)
        with torch.no_grad():
            layer.weight.copy_(effective_weight(layer))
    names = unquantized_names(model)
    if set(names) | {name + end for name in layers for end in (CODES, SCALE)} != set(tensors):
        raise ExportError("its tensors are not those of the model that its metadata describe")
    model.load_state_dict({name: tensors[name] for name in names}, strict=False)
