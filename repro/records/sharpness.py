"""``sharpness.json``: how far a finished run's loss rises when its weights are moved; beside its record."""

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.records.files import atomic_write
from repro.records.record import MOST_BYTES, RecordError, parse_json, read_limited
from repro.text import printable, shown

SHARPNESS_NAME = "sharpness.json"
SHARPNESS_VERSION = 1
RADIUS = 0.1  # share of each layer's norm, of the figure that claims and tables take


@dataclass(frozen=True)
class Sharpness:
    """Losses at a run's weights and around them; ``results/README.md`` has every field.

    Attributes:
        spec_hash: Identity of the run, as in its record.
        seed: Its seed.
        weights: ``zero_rate`` or ``last``: which of the run's weights.
        images: Training and test images that the losses are means over.
        train_loss: At the weights, in nats.
        test_loss: The same on test images.
        moved: By radius: ``train_loss`` and ``test_loss``, one figure a draw of noise.
        environment: Versions and machine on which this was measured.
        schema_version: Version of this shape.
    """

    spec_hash: str
    seed: int
    weights: str
    images: Mapping[str, int]
    train_loss: float
    test_loss: float
    moved: Mapping[str, Mapping[str, Sequence[float]]]
    environment: Mapping[str, Any]
    schema_version: int = SHARPNESS_VERSION

    @property
    def rise(self) -> float:
        """Mean rise of the training loss at ``RADIUS``, in nats."""
        return statistics.fmean(self.moved[str(RADIUS)]["train_loss"]) - self.train_loss


def write_sharpness(directory: Path, sharpness: Sharpness) -> Path:
    """Write ``sharpness.json`` into a run's folder.

    Raises:
        StorageError: If the disk is full or the folder cannot be written.
    """
    path = directory / SHARPNESS_NAME
    atomic_write(path, json.dumps(dataclasses.asdict(sharpness), indent=1, allow_nan=False) + "\n")
    return path


def read_sharpness(directory: Path, spec_hash: str, seed: int) -> float:
    """``Sharpness.rise`` of the run in ``directory``; NaN where it was not measured.

    Args:
        directory: The run's folder.
        spec_hash: Identity of the record beside it.
        seed: Its seed.

    Raises:
        RecordError: If the file is damaged, of another version or of another run.
    """
    path = directory / SHARPNESS_NAME
    if not path.exists():
        return math.nan
    try:
        found = Sharpness(**parse_json(read_limited(path, MOST_BYTES), path, "a readable measurement"))
        rise = float(found.rise)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise RecordError(
            f"{path}: not a readable measurement ({printable(error)}); delete it, or measure again"
        ) from None
    if found.schema_version != SHARPNESS_VERSION:
        raise RecordError(f"{path}: schema version {shown(found.schema_version)}, this suite reads {SHARPNESS_VERSION}")
    if (found.spec_hash, found.seed) != (spec_hash, seed):
        raise RecordError(f"{path}: of another run than the record beside it; delete it")
    return rise
