"""What follows from the paper's own text without a run: parameters, sizes, FLOPs, its own differences.

The network's own counts come from ``repro.analysis.Architecture``, which needs no torch. Results are in the units
of records (fractions, bytes, seconds), with how they came about.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence

from repro.analysis.architecture import Architecture
from repro.claims.claim import Call, Reading
from repro.paper import parse_printed, read_table

TRAIN_IMAGES = 50_000
CORES, FLOPS_PER_CYCLE = 2, 64  # Colab's two virtual cores; two AVX-512 units that multiply and add in FP32
WINOGRAD = 2.25  # 36 multiplications of a 2×2 output tile against 16


def exactly(value: float, how: str) -> Reading:
    """A single figure."""
    return Reading(value, value, how)


def parameters(classes: int) -> Reading:
    """Parameters of the architecture."""
    count = Architecture(classes).parameters
    return exactly(count, f"the layers of section III-E have {count:,} parameters for K = {classes}")


def fp32_bytes(classes: int) -> Reading:
    """Every parameter at 4 bytes."""
    size = Architecture(classes).fp32_bytes
    return exactly(size, f"{Architecture(classes).parameters:,} parameters at 4 bytes are {_size(size)}")


def counted_bytes(classes: int) -> Reading:
    """Every parameter at half a byte, as the paper counts."""
    size = Architecture(classes).parameters / 2
    return exactly(size, f"{Architecture(classes).parameters:,} parameters at half a byte are {_size(size)}")


def packed_bytes(classes: int) -> Reading:
    """A file that can be loaded."""
    size = Architecture(classes).packed_bytes
    parts = f"{Architecture(classes).weights:,} weights at 4 bits, with biases, batch norm and scales in FP32"
    return exactly(size, f"{parts}, are {_size(size)}")


def counted_compression(classes: int) -> Reading:
    """FP32 size over the paper's count."""
    return exactly(fp32_bytes(classes).low / counted_bytes(classes).low, "4 bytes over half a byte for every parameter")


def packed_compression(classes: int) -> Reading:
    """FP32 file over a packed one; both also hold the statistics of batch norm."""
    fp32 = Architecture(classes).fp32_bytes + Architecture(classes).statistics_bytes
    packed = Architecture(classes).packed_bytes
    how = f"files that can be loaded take {fp32:,} and {packed:,} bytes: {fp32 / packed:.2f}×"
    return exactly(fp32 / packed, how)


def extra_parameters(printed: int, classes: int) -> Reading:
    """Parameters that the paper counts beyond those of the unquantised network."""
    extra = printed - Architecture(classes).parameters
    return exactly(extra, f"{printed:,} printed less {Architecture(classes).parameters:,} of the unquantised network")


def levels(largest: int) -> Reading:
    """Integers from ``-largest`` to ``largest``."""
    return exactly(2 * largest + 1, f"−{largest} to {largest} are {2 * largest + 1} integers")


def ratio(of: float, to: float) -> Reading:
    """Quotient of two printed numbers."""
    return exactly(of / to, f"{of:,} / {to:,} = {of / to:g}")


def total(parts: Sequence[float]) -> Reading:
    """Sum of printed numbers."""
    return exactly(sum(parts), f"{' + '.join(f'{part:,}' for part in parts)} = {sum(parts):,}")


def printed_difference(of: str, minus: str) -> Reading:
    """Difference of two printed accuracies or ranges, in per cent."""
    first, second = parse_printed(of), parse_printed(minus)
    ends = sorted((first.low - second.high, first.high - second.low))
    how = f"the paper's own {of} less {minus}"
    return Reading(ends[0] / 100, ends[1] / 100, how)


def printed_ablation_rank(row: str) -> Reading:
    """Rank of a row's loss among the losses of table VII that remove one component each, 1 for the largest."""
    rows = read_table("table7")["rows"]
    accuracy = {
        entry["label"]: parse_printed(entry["values"]["accuracy"]).low for entry in rows if not entry.get("removes_two")
    }
    full, *others = accuracy.values()
    loss = full - accuracy[row]
    rank = 1 + sum(full - other > loss for other in others)
    return exactly(
        rank, f"by table VII its loss of {loss:.1f} points is number {rank} of {len(others)} single removals"
    )


def grid_span(largest: int) -> Reading:
    """Largest value of the grid over the largest weight, where the scale is that weight over ``largest``.

    By equations 2 to 4 the largest code stands for ``largest * c / largest`` with ``c = max|W|`` (equation 5).
    """
    bound = 1.0
    return exactly(
        largest * (bound / largest), f"the outermost code stands for {largest} · max|W| / {largest} = max|W|"
    )


def least_training_seconds(epochs: int, gigahertz: float, printed_hours: float) -> Reading:
    """Time at the processor's arithmetic peak, with the fewest multiplications of the usual algorithms.

    In favour of the paper: two virtual cores count as two whole ones with two AVX-512 units each, and every 3×3
    convolution as Winograd's F(2×2, 3×3) at that peak (Lavin and Gray 2016), which multiplies 2.25 times less than the
    direct sum; no program reaches either.

    Args:
        epochs: Epochs of 50,000 images, forward and backward.
        gigahertz: Clock.
        printed_hours: The paper's time, for the sentence.
    """
    # a multiply-add is two operations; the backward pass costs twice the forward pass
    multiply_adds = Architecture(classes=10).multiply_adds
    operations = multiply_adds * 2 * 3 * TRAIN_IMAGES * epochs
    peak = CORES * gigahertz * 1e9 * FLOPS_PER_CYCLE
    direct = operations / peak
    return exactly(
        direct / WINOGRAD,
        f"{multiply_adds / 1e6:.0f} million multiply-adds an image need {operations / printed_hours / 3.6e12:.0f} "
        f"GFLOP/s sustained if convolutions are summed directly, and {CORES} cores at {gigahertz} GHz peak at "
        f"{peak / 1e9:.0f}: {direct / 3600:.1f} h at that peak, {direct / WINOGRAD / 3600:.1f} h with Winograd's "
        "F(2×2, 3×3)",
    )


def _size(size: float) -> str:
    return f"{size:,.0f} bytes, {size / 2**20:.3f} MiB"


ARITHMETIC: Mapping[str, Callable[..., Reading]] = {
    function.__name__: function
    for function in (
        parameters, fp32_bytes, counted_bytes, packed_bytes, counted_compression, packed_compression,
        extra_parameters, levels, ratio, total, printed_difference, printed_ablation_rank, grid_span,
        least_training_seconds,
    )
}  # fmt: skip


def compute(call: Call) -> Reading:
    """The result of a named function, in the units of records."""
    return ARITHMETIC[call.name](**call.arguments)


def argument_names(function: Callable[..., object], skip: int = 0) -> tuple[set[str], set[str]]:
    """Names of all arguments of a function of a registry and of those that must be given, less the first ``skip``."""
    found = list(inspect.signature(function).parameters.values())[skip:]
    return {p.name for p in found}, {p.name for p in found if p.default is p.empty}
