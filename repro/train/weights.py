"""A finished run's weights, made again where only its record travelled."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from repro.config import Run
from repro.errors import ReproError
from repro.leftovers import SIDE_FOLDER
from repro.records import read_record
from repro.train.kept import kept_weights, note_retrained
from repro.train.lock import only_writer
from repro.train.settings import Settings, Tracker
from repro.train.together import train_run

logger = logging.getLogger(__name__)


def restore_weights(run: Run, settings: Settings) -> Path:
    """Make sure that a run's ``weights.pt`` is there.

    Where the record stands without weights, as in a fresh clone, the run is trained again in a folder of its
    own (stopped, it goes on there), and only its weights are kept: the record stays as it is.

    Args:
        run: A training.
        settings: As for ``train_run``.

    Returns:
        Path of the weights.

    Raises:
        As ``train_run``.
    """
    path = run.weights_path(settings.results)
    if path.exists():
        try:
            kept_weights(run, settings.results)
            return path
        except ReproError as error:
            logger.warning("%s", error)
            path.unlink()
    source, _ = settings.start_of(run)
    if source is not None and source.record_path(settings.results).exists():
        restore_weights(source, settings)  # those that this one starts from
    if not run.record_path(settings.results).exists():
        train_run(run, settings)
        if path.exists():
            return path  # else the record alone was restored from its copy
    with only_writer(run.directory(settings.results), settings):
        recorded = read_record(run.record_path(settings.results)).summary["final_test_accuracy"]
        untracked: Callable[[float, str], Tracker | None] = lambda seconds, started_at: None  # noqa: E731
        start, folder = settings.start_of(run), settings.results / SIDE_FOLDER
        aside = replace(settings, results=folder, track=untracked, plan=None, start=start)
        logger.info("%s: the record stands, its weights do not; training them again", run.experiment)
        now = train_run(run, aside).summary["final_test_accuracy"]
        if now != recorded:
            logger.warning(
                "%s: these weights have test accuracy %.2f %%, the record %.2f %%: another platform, or other "
                "versions, change a training's last bits, and with them its course",
                path, 100 * now, 100 * recorded,
            )  # fmt: skip
        for kept in run.directory(aside.results).glob("weights*.pt"):  # those where the rate is zero too
            kept.replace(path.with_name(kept.name))
        note_retrained(run, settings.results)
        shutil.rmtree(run.directory(aside.results))
        _remove_empty(run.directory(aside.results).parent, aside.results)
    return path


def _remove_empty(folder: Path, last: Path) -> None:
    """Remove ``folder`` and its parents up to ``last``, as long as they are empty."""
    for empty in (folder, *folder.parents):
        if any(empty.iterdir()):
            return
        empty.rmdir()
        if empty == last:
            return
