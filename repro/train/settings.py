"""How to train, as far as it changes no number in the spec."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from repro.config import Plan, Run
from repro.train.progress import Progress


class Tracker(Protocol):
    """Follows a run live; see ``repro.tracking``."""

    def log_epochs(self, epoch_rows: Sequence[Mapping[str, Any]], layer_rows: Sequence[Mapping[str, Any]]) -> None:
        """Take all rows so far."""

    def close(self, status: str) -> None:
        """The run ended with ``status``, or was ``interrupted``."""


@dataclass
class Settings:
    """How to train, as far as it changes no number in the spec.

    Attributes:
        results: Folder of the records.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: Threads of a CPU run; ``None`` takes the scale's.
        data_dir: Folder of the data sets; ``None`` takes REPRO_DATA_DIR or ``data/``.
        group: The experiment's group, for the record.
        track: Called after each epoch with the estimated seconds of the whole run and
            the time at which it started (ISO 8601), until it gives a tracker.
        stop: Asked after each step whether to stop at its boundary.
        progress: Where progress goes.
        checkpoint_seconds: An epoch's end is saved unless less time has passed since the last; a stop always is.
        compile: Compile the model with inductor, which changes the last bits; pays on a GPU at most.
        plan: The runs of the scale, with which this one shares its first epochs; ``None`` shares none.
        wait: Where another process trains the run, wait until it has ended; by default that is an error.
        start: The run from whose weights one with ``start_from`` begins, and the results where they lie; by default
            the plan's, in ``results``.
    """

    results: Path = Path("results")
    device: str = "auto"
    threads: int | None = None
    data_dir: Path | None = None
    group: str = ""
    track: Callable[[float, str], Tracker | None] = lambda seconds, started_at: None
    stop: Callable[[], bool] = lambda: False
    progress: Progress | None = None
    checkpoint_seconds: float = 10.0
    compile: bool = False
    plan: Plan | None = None
    wait: bool = False
    start: tuple[Run | None, Path] | None = None

    def start_of(self, run: Run) -> tuple[Run | None, Path]:
        """``start``, or what takes its place."""
        return self.start or (None if self.plan is None else self.plan.source(run), self.results)
