"""How the report names data sets, scales and seeds."""

from collections.abc import Iterable

from repro.config import Config

PAPER_SCALE = "paper"
DATA_LABELS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits10": "digits10 (handwritten digits, not CIFAR)",
    "digits100": "digits100 (pairs of handwritten digits, not CIFAR)",
}
NOT_COMPARABLE = "not comparable to the paper's numbers"


def data_label(name: str) -> str:
    """A data set's name for readers; digits are never called CIFAR."""
    return DATA_LABELS.get(name, name)


def scale_remark(config: Config, scale: str) -> str:
    """What a scale is and, below the paper's own, that its numbers do not compare."""
    description = config.scales[scale].description
    return description if scale == PAPER_SCALE else f"{description}; {NOT_COMPARABLE}"


def seeds_label(seeds: Iterable[int]) -> str:
    """``seed 0`` or ``seeds 0, 1, 2``."""
    names = [str(seed) for seed in seeds]
    return f"seed{'s' if len(names) > 1 else ''} {', '.join(names)}"


def epochs_label(epochs: int) -> str:
    """``1 epoch`` or ``9 epochs``."""
    return f"{epochs} epoch{'s' if epochs != 1 else ''}"


def twin(experiment: str) -> str:
    """The experiment that repeats another one with a validation split, where there is such a one."""
    return f"validated_{experiment}"
