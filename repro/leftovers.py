"""What killed processes leave behind: where it is, and why nobody needs it. Imports no torch."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from repro.config import Plan, Run
from repro.config.trajectories import snapshots_of
from repro.records import CHECKPOINT_NAME, FORMER_CHECKPOINT_NAME, RecordError, read_record
from repro.records.files import abandoned
from repro.records.locks import is_locked

CHECKPOINTS = (CHECKPOINT_NAME, FORMER_CHECKPOINT_NAME)
# Below the results, where weights of finished runs are trained again: `find_records` does not look there, git neither.
SIDE_FOLDER = ".retrained"


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nobody needs.

    Attributes:
        path: Where it is.
        reason: Why it can go, in a few words.
    """

    path: Path
    reason: str

    @property
    def size(self) -> int:
        """Bytes."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(path.lstat().st_size for path in files if path.is_file())

    def remove(self) -> None:
        """Delete it; no error where it is gone, or cannot be."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            return


def find_leftovers(plans: Iterable[Plan], results: Path, others: Iterable[Path] = ()) -> list[Leftover]:
    """Everything below ``results`` that a killed process left and no command needs any more.

    Args:
        plans: The scales whose runs are looked at.
        results: Folder of the records.
        others: More folders that the suite writes to, each looked through for halves of files.
    """
    found: list[Leftover] = []
    for plan in plans:
        for run in plan:
            found += _of_run(run, results)
        found += _snapshots(plan, results)
    folders = [results, *(path for path in results.glob("*") if path.is_dir()), *results.glob("*/*/seed*-*"), *others]
    halves = {path for folder in folders for path in abandoned(folder)}
    return [*found, *(Leftover(path, "half a file of a killed process") for path in sorted(halves))]


def _of_run(run: Run, results: Path) -> Iterator[Leftover]:
    directory, aside = run.directory(results), run.directory(results / SIDE_FOLDER)
    kept = [directory / name for name in CHECKPOINTS if (directory / name).exists()]
    if not run.weights_path(results).exists() or not (kept or aside.exists()) or is_locked(directory):
        return
    if aside.exists() and not is_locked(aside):
        yield Leftover(aside, "the weights that were trained again are in place")
    try:
        read_record(run.record_path(results))
    except RecordError:
        return
    yield from (Leftover(path, "the run has finished") for path in kept)


def _snapshots(plan: Plan, results: Path) -> Iterator[Leftover]:
    """Those from which no run that has not begun would start; a run that is under way may be about to."""
    found = set((results / plan.scale.name).glob(".snapshot-*.pt"))
    waiting = [run for run in plan if found and not _has_begun(run, results)]
    needed = {starts[0][1] for run in waiting if (starts := snapshots_of(run, results))}
    for path in sorted(found - needed):
        yield Leftover(path, "no run waits for it")


def _has_begun(run: Run, results: Path) -> bool:
    begun = (run.record_path(results), *(run.directory(results) / name for name in CHECKPOINTS))
    return any(path.exists() for path in begun)
