"""States that runs share: kept by one where others leave it, taken by those, deleted when nobody waits for them."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.config import Plan, Run
from repro.config.trajectories import SNAPSHOTS, departures, shared_epochs, snapshot_path, snapshots_of, trajectory_hash
from repro.records import CHECKPOINT_NAME
from repro.records.files import TEMPORARY
from repro.records.integrity import DamagedError
from repro.text import printable
from repro.train.checkpoint import Check, Checkpoint, CheckpointWriter, UnfitError, read_checkpoint

logger = logging.getLogger(__name__)


class Snapshots:
    """What one run takes from others and keeps for them.

    A snapshot is a whole checkpoint, in a hidden file beside the experiments of its scale. It never has to be there:
    without it a run trains from the start, to the same bits. Any process may write or delete one at any time, and
    anybody may delete them all. Only runs that the plan lists wait for one: a seed that the scale does not list
    trains alone, and without a plan nothing is shared. Those that only run when they are named take what is there, but
    nothing is kept for them: they may never come.
    """

    def __init__(self, run: Run, plan: Plan | None, results: Path, setting: Mapping[str, Any]) -> None:
        """Share between ``run`` and the runs of ``plan``.

        Args:
            run: The run.
            plan: Its scale's plan; ``None`` shares nothing.
            results: Folder of the records.
            setting: What fixes the bits besides the trajectory, as for a checkpoint: all that share have it in common.
        """
        self._run, self._results, self._setting = run, results, dict(setting)
        trajectory = trajectory_hash(run.spec)
        self._pattern = SNAPSHOTS.format(trajectory=trajectory, seed=run.seed)
        near = [other for other in plan or () if other.seed == run.seed and other.key != run.key]
        self._family = [other for other in near if trajectory_hash(other.spec) == trajectory]
        expected = {other.key for other in plan.default_runs} if plan else set()
        self._expected = [other for other in self._family if other.key in expected]

    @property
    def ends(self) -> set[int]:
        """Epochs after which other runs end that can take all of theirs from this one."""
        return {
            other.epochs_to_train
            for other in self._family
            if shared_epochs(other.spec, self._run.spec) == other.epochs_to_train
        }

    def take(self, check: Check) -> Checkpoint | None:
        """The longest snapshot that fits and that ``check`` takes; one that does not is named and left alone."""
        if not self._family:
            return None
        for epochs, path in snapshots_of(self._run, self._results):
            try:
                checkpoint = read_checkpoint(path, self._setting, check)
            except FileNotFoundError:
                continue  # deleted meanwhile
            except (DamagedError, UnfitError) as error:
                logger.warning("%s: not used, %s", path, error)
                continue
            name, maker = self._run.experiment, printable(checkpoint.shared.get("from"))
            logger.info("%s: its epochs up to %d are those of %s, and not trained again", name, epochs, maker)
            return checkpoint
        return None

    def keep(self, checkpoint: Checkpoint, writer: CheckpointWriter) -> None:
        """Keep the state at an epoch's end, where a run that has not begun yet leaves."""
        epochs = len(checkpoint.epochs)
        if epochs not in departures(self._run, self._waiting()):
            return
        shared = {"from": self._run.key, "epochs": epochs, "wall_seconds": round(checkpoint.wall_seconds, 3)}
        snapshot = replace(checkpoint, setting=self._setting, shared=shared)
        writer.keep(snapshot, snapshot_path(self._run, epochs, self._results))

    def delete_unneeded(self) -> None:
        """Delete those from which no run that has not begun would start."""
        folder = self._results / self._run.scale
        found = list(folder.glob(self._pattern))  # before asking who waits: what is written meanwhile stays
        halves = list(folder.glob(f".{self._pattern}.*{TEMPORARY}"))
        waiting = self._waiting()
        needed = {starts[0][1] for other in waiting if (starts := snapshots_of(other, self._results))}
        for path in found:
            if path not in needed:
                path.unlink(missing_ok=True)
        if not waiting:  # nobody writes any more: what a killed writer left
            for path in halves:
                path.unlink(missing_ok=True)

    def _waiting(self) -> list[Run]:
        """Runs of this trajectory that are to come and have not begun."""

        def begun(run: Run) -> bool:
            return run.record_path(self._results).exists() or (run.directory(self._results) / CHECKPOINT_NAME).exists()

        return [other for other in self._expected if not begun(other)]
