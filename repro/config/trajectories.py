"""Runs that are one and the same up to an epoch: their specs differ in nothing but how long and at which later rates.

The ablation's full method is the main run's first 100 epochs, bit for bit; the warm restart leaves it there. What
such runs share is trained once: the trainer keeps a snapshot where another run leaves (``repro.train.snapshots``).
"""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from repro.config.runs import Run, hash_spec
from repro.config.schedules import rate_factors, zero_rate_epoch

SNAPSHOTS = ".snapshot-{trajectory}-*-seed{seed}-*.pt"


def trajectory_hash(spec: Mapping[str, Any]) -> str:
    """Hash of everything but epochs and schedule: runs in which it differs share nothing."""
    return hash_spec({**spec, "epochs": 1, "schedule": {"name": "constant"}})


def shared_epochs(spec: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """First epochs that a run may take from another one of the same scale and seed.

    Never beyond the epoch at which its rate is zero: it has weights to keep there.
    """
    if trajectory_hash(spec) != trajectory_hash(other):
        return 0
    both = zip(rate_factors(spec), rate_factors(other), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
    return min(shared, zero_rate_epoch(spec) or shared)


def departures(run: Run, others: Iterable[Run]) -> list[int]:
    """Epochs of ``run``, perhaps its last, after which some other run of its scale and seed leaves it."""
    near = (other for other in others if (other.scale, other.seed) == (run.scale, run.seed) and other.key != run.key)
    return sorted({shared_epochs(other.spec, run.spec) for other in near} - {0})


def snapshot_path(run: Run, epochs: int, results: Path) -> Path:
    """Where the state after a run's first epochs lies: the same for every run that shares them."""
    rates = " ".join(factor.hex() for factor in rate_factors(run.spec)[:epochs])
    stretch = f"{trajectory_hash(run.spec)}-{hashlib.sha256(rates.encode()).hexdigest()[:8]}"
    return results / run.scale / f".snapshot-{stretch}-seed{run.seed}-epoch{epochs}.pt"


def snapshots_of(run: Run, results: Path) -> list[tuple[int, Path]]:
    """The snapshots on disk from which ``run`` can start, the longest first, each with its epochs."""
    last = zero_rate_epoch(run.spec) or run.epochs_to_train
    paths = ((epochs, snapshot_path(run, epochs, results)) for epochs in range(last, 0, -1))
    return [(epochs, path) for epochs, path in paths if path.exists()]
