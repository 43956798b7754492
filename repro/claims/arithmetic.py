"""What follows from the paper's own text without a run: parameters, sizes, FLOPs, its own differences.

The architecture is that of section III-E in plain Python, so that no torch is needed; a test compares it with
the model that is trained. Results are in the units of records (fractions, bytes, seconds), with how they came about.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from repro.claims.claim import Call, Reading
from repro.paper import parse_printed, read_table

CHANNELS = (64, 64, 128, 128, 256, 256)
HIDDEN = 512
IMAGE_SIDE = 32
TRAIN_IMAGES = 50_000
BYTES_PER_FLOAT = 4
COUNTER_BYTES = 8  # each batch norm counts its batches


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer: ``inputs`` weights feed each of ``outputs`` units at ``positions`` places."""

    inputs: int
    outputs: int
    positions: int
    batch_norm: bool

    @property
    def weights(self) -> int:
        """Weights that are quantised."""
        return self.inputs * self.outputs


def vgg(classes: int) -> list[Layer]:
    """The eight weight layers of section III-E for ``classes`` classes."""
    layers, before, side = [], 3, IMAGE_SIDE
    for index, channels in enumerate(CHANNELS):
        layers.append(Layer(9 * before, channels, side * side, batch_norm=True))
        before = channels
        side //= 1 + index % 2  # a pooling after every second convolution
    layers.append(Layer(before * side * side, HIDDEN, 1, batch_norm=True))
    layers.append(Layer(HIDDEN, classes, 1, batch_norm=False))
    return layers


def count_weights(classes: int) -> int:
    """Weights of the convolutions and linear layers."""
    return sum(layer.weights for layer in vgg(classes))


def count_parameters(classes: int) -> int:
    """Weights, biases, and scale and shift of each batch norm."""
    return sum(layer.weights + layer.outputs * (3 if layer.batch_norm else 1) for layer in vgg(classes))


def count_macs(classes: int = 10) -> int:
    """Multiply-adds of one image's forward pass."""
    return sum(layer.weights * layer.positions for layer in vgg(classes))


def packed_size(classes: int) -> int:
    """Bytes of a file with 4-bit weights and, in FP32, biases, batch norms with statistics, and a scale a layer."""
    weights, scales = count_weights(classes), len(vgg(classes))
    others = count_parameters(classes) - weights + scales
    return weights // 2 + BYTES_PER_FLOAT * others + statistics_size(classes)


def statistics_size(classes: int) -> int:
    """Bytes of the batch norms' running means, variances and counters, which every file of the model holds."""
    normed = [layer.outputs for layer in vgg(classes) if layer.batch_norm]
    return 2 * BYTES_PER_FLOAT * sum(normed) + COUNTER_BYTES * len(normed)


def exactly(value: float, how: str) -> Reading:
    """A single figure."""
    return Reading(value, value, how)


def parameters(classes: int) -> Reading:
    """Parameters of the architecture."""
    count = count_parameters(classes)
    return exactly(count, f"the layers of section III-E have {count:,} parameters for K = {classes}")


def fp32_bytes(classes: int) -> Reading:
    """Every parameter at 4 bytes."""
    size = BYTES_PER_FLOAT * count_parameters(classes)
    return exactly(size, f"{count_parameters(classes):,} parameters at 4 bytes are {_size(size)}")


def counted_bytes(classes: int) -> Reading:
    """Every parameter at half a byte, as the paper counts."""
    size = count_parameters(classes) / 2
    return exactly(size, f"{count_parameters(classes):,} parameters at half a byte are {_size(size)}")


def packed_bytes(classes: int) -> Reading:
    """A file that can be loaded."""
    size = packed_size(classes)
    parts = f"{count_weights(classes):,} weights at 4 bits, with biases, batch norm and scales in FP32"
    return exactly(size, f"{parts}, are {_size(size)}")


def counted_compression(classes: int) -> Reading:
    """FP32 size over the paper's count."""
    return exactly(fp32_bytes(classes).low / counted_bytes(classes).low, "4 bytes over half a byte for every parameter")


def packed_compression(classes: int) -> Reading:
    """FP32 file over a packed one; both also hold the statistics of batch norm."""
    fp32 = BYTES_PER_FLOAT * count_parameters(classes) + statistics_size(classes)
    packed = packed_size(classes)
    how = f"files that can be loaded take {fp32:,} and {packed:,} bytes: {fp32 / packed:.2f}×"
    return exactly(fp32 / packed, how)


def training_memory_ratio() -> Reading:
    """Bytes a weight while training: FP32 over the method, which keeps latent weights, gradients and both moments."""
    fp32 = 4 * BYTES_PER_FLOAT
    kept = 4 * BYTES_PER_FLOAT  # section III-A: full-precision weights are maintained; AdamW has two moments
    return exactly(
        fp32 / kept,
        f"in training a weight takes {kept} bytes with and without quantisation: "
        "FP32 latent value, gradient and AdamW's two moments",
    )


def extra_parameters(printed: int, classes: int) -> Reading:
    """Parameters that the paper counts beyond those of the unquantised network."""
    extra = printed - count_parameters(classes)
    return exactly(extra, f"{printed:,} printed less {count_parameters(classes):,} of the unquantised network")


def levels(largest: int) -> Reading:
    """Integers from ``-largest`` to ``largest``."""
    return exactly(2 * largest + 1, f"−{largest} to {largest} are {2 * largest + 1} integers")


def bits(levels: int) -> Reading:
    """Bits that tell so many levels apart."""
    return exactly(math.log2(levels), f"the cited title says 1-bit: {levels} levels are {math.log2(levels):g} bit")


def ratio(of: float, to: float) -> Reading:
    """Quotient of two printed numbers."""
    return exactly(of / to, f"{of:,} / {to:,} = {of / to:g}")


def total(parts: Sequence[float]) -> Reading:
    """Sum of printed numbers."""
    return exactly(sum(parts), f"{' + '.join(f'{part:,}' for part in parts)} = {sum(parts):,}")


def number_of(items: Sequence[str]) -> Reading:
    """How many the paper itself names."""
    return exactly(len(items), f"the paper itself names {len(items)}: {', '.join(items)}")


def printed_difference(of: str, minus: str) -> Reading:
    """Difference of two printed accuracies or ranges, in per cent."""
    first, second = parse_printed(of), parse_printed(minus)
    ends = sorted((first.low - second.high, first.high - second.low))
    how = f"the paper's own {of} less {minus}"
    return Reading(ends[0] / 100, ends[1] / 100, how)


def printed_ablation_rank(row: str) -> Reading:
    """Rank of a row's loss among all losses of table VII, 1 for the largest."""
    rows = read_table("table7")["rows"]
    accuracy = {entry["label"]: parse_printed(entry["values"]["accuracy"]).low for entry in rows}
    full, *others = accuracy.values()
    loss = full - accuracy[row]
    rank = 1 + sum(full - other > loss for other in others)
    return exactly(rank, f"by table VII its loss of {loss:.1f} points is number {rank} of {len(others)}")


def least_training_seconds(
    epochs: int, cores: int, gigahertz: float, flops_per_cycle: int, printed_hours: float
) -> Reading:
    """Time at the processor's arithmetic peak, a lower bound that no program reaches.

    Args:
        epochs: Epochs of 50,000 images, forward and backward.
        cores: Cores, each with all of its vector units.
        gigahertz: Clock.
        flops_per_cycle: FP32 operations of a core in a cycle: 64 for two AVX-512 units that multiply and add.
        printed_hours: The paper's time, for the sentence.
    """
    # a multiply-add is two operations; the backward pass costs twice the forward pass
    operations = count_macs() * 2 * 3 * TRAIN_IMAGES * epochs
    peak = cores * gigahertz * 1e9 * flops_per_cycle
    needed = operations / (printed_hours * 3600)
    return exactly(
        operations / peak,
        f"{count_macs() / 1e6:.0f} million multiply-adds an image need {needed / 1e9:.0f} GFLOP/s sustained; "
        f"{cores} cores at {gigahertz} GHz peak at {peak / 1e9:.0f}, so {operations / peak / 3600:.1f} h are the least",
    )


def _size(size: float) -> str:
    return f"{size:,.0f} bytes, {size / 2**20:.3f} MiB"


ARITHMETIC: Mapping[str, Callable[..., Reading]] = {
    function.__name__: function
    for function in (
        parameters, fp32_bytes, counted_bytes, packed_bytes, counted_compression, packed_compression,
        training_memory_ratio, extra_parameters, levels, bits, ratio, total, number_of, printed_difference,
        printed_ablation_rank, least_training_seconds,
    )
}  # fmt: skip


def compute(call: Call) -> Reading:
    """The result of a named function, in the units of records."""
    return ARITHMETIC[call.name](**call.arguments)


def argument_names(function: Callable[..., object], skip: int = 0) -> tuple[set[str], set[str]]:
    """Names of all arguments of a function of a registry and of those that must be given, less the first ``skip``."""
    found = list(inspect.signature(function).parameters.values())[skip:]
    return {p.name for p in found}, {p.name for p in found if p.default is p.empty}
