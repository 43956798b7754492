"""Where every run of a scale stands, read from its folder. Imports no torch."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from repro.config import Plan, Run
from repro.failures import last_words
from repro.records import CHECKPOINT_NAME, DIVERGED, EPOCHS_NAME, RecordError, read_csv_rows, read_record
from repro.records.locks import is_locked
from repro.text import printable

FINISHED = "finished"
UNREADABLE = "unreadable"
RUNNING = "running"
INTERRUPTED = "interrupted"
FAILED = "failed"
NOT_STARTED = "not started"

FOLDER = re.compile(r"seed(\d+)-([0-9a-f]+)")


@dataclass(frozen=True)
class RunStatus:
    """One run's state.

    Attributes:
        run: Which run.
        serves: Names of all experiments that it serves.
        state: One of the constants of this module, or ``repro.records.DIVERGED``.
        epoch: Epochs trained so far.
        accuracy: Test accuracy at the last of them, a fraction; ``None`` before the first.
        seconds_left: Estimate from the mean epoch so far; ``None`` before the first, 0 when it has ended.
        problem: What is wrong with its files, or what it said last before it failed, in one line; else empty.
    """

    run: Run
    serves: tuple[str, ...]
    state: str
    epoch: int
    accuracy: float | None
    seconds_left: float | None
    problem: str = ""


def scale_status(plan: Plan, results: Path) -> list[RunStatus]:
    """Every run of the plan's scale and every other seed of one on disk, each once, in the registry's order."""
    serves: dict[str, list[str]] = {}
    runs: dict[str, Run] = {}
    for experiment in plan.experiments:
        for run in [*plan.runs(experiment.name), *_other_seeds(plan, experiment.name, results)]:
            serves.setdefault(run.key, []).append(experiment.name)
            runs[run.key] = run
    return [_run_status(run, tuple(serves[key]), results) for key, run in runs.items()]


def _other_seeds(plan: Plan, experiment: str, results: Path) -> list[Run]:
    """Runs that were started by hand, with a seed that the scale does not list."""
    home = plan.run(experiment, 0).directory(results)
    found = (FOLDER.fullmatch(path.name) for path in home.parent.glob("seed*-*"))
    seeds = sorted(int(match[1]) for match in found if match and match[2] == home.name.partition("-")[2])
    return [plan.run(experiment, seed) for seed in seeds if seed not in plan.scale.seeds]


def _run_status(run: Run, serves: tuple[str, ...], results: Path) -> RunStatus:
    try:
        return _read_status(run, serves, results)
    except RecordError as error:
        return RunStatus(run, serves, UNREADABLE, 0, None, None, str(error))


def _read_status(run: Run, serves: tuple[str, ...], results: Path) -> RunStatus:
    path = run.directory(results) / EPOCHS_NAME
    rows = read_csv_rows(path)
    try:
        accuracies, seconds = ([float(row[name]) for row in rows] for name in ("test_accuracy", "wall_seconds"))
        if not all(map(math.isfinite, seconds)):
            raise ValueError("a time that is no number")
    except (KeyError, ValueError) as error:
        advice = "copy its folder again, or train on, which writes it anew"
        raise RecordError(f"{path}: damaged ({printable(error)}); {advice}") from None
    epoch = min(len(rows), run.epochs_to_train)  # a PTQ run has a row, and no epoch
    started = bool(rows) or (run.directory(results) / CHECKPOINT_NAME).exists()
    state = _state(run, results, started)
    left: float | None = None
    if state in (FINISHED, DIVERGED):
        left = 0.0
    elif epoch:
        left = sum(seconds) / epoch * (run.epochs_to_train - epoch)
    problem = last_words(run, results) if state in (INTERRUPTED, NOT_STARTED) else ""
    if problem:
        state, problem = FAILED, f"{run.experiment} seed {run.seed} failed: {problem}"
    return RunStatus(run, serves, state, epoch, accuracies[-1] if rows else None, left, problem)


def _state(run: Run, results: Path, started: bool) -> str:
    path = run.record_path(results)
    if path.exists():
        return DIVERGED if read_record(path).status == DIVERGED else FINISHED
    if is_locked(run.directory(results)):
        return RUNNING
    return INTERRUPTED if started else NOT_STARTED
