"""One process a run, and what a second one is told."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from repro.errors import ReproError
from repro.records import LOCK_NAME
from repro.records.files import holder
from repro.train.settings import Settings

LOCK_SECONDS = 2.0  # `python -m repro status` holds a run's lock for a moment

logger = logging.getLogger(__name__)


class RunBusyError(ReproError):
    """Another process trains the same run."""


class Interrupted(BaseException):
    """The run was asked to stop; a training's state, at a step's boundary, is in the checkpoint, PTQ keeps none.

    Like ``KeyboardInterrupt`` no ``Exception``: a signal's handler may raise it anywhere, and a library's
    ``except Exception`` on the way, such as the one around each line of ``logging``, would swallow it.
    """


@contextmanager
def only_writer(directory: Path, settings: Settings) -> Iterator[None]:
    """One process a run: after a killed workflow a trainer of its may still be at work.

    Raises:
        RunBusyError: If another process has the run, and ``settings.wait`` is not set.
        Interrupted: If ``settings.stop`` asked for it while this one waited.
        ReproError: If the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK_NAME)
        _acquire(lock, directory, settings)
    except OSError as error:
        raise ReproError(f"{directory}: cannot be written ({error.strerror}); choose another --results") from None
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, directory: Path, settings: Settings) -> None:
    waits = False
    while True:
        try:
            lock.acquire(timeout=LOCK_SECONDS)
            return
        except Timeout:
            process = holder(directory / LOCK_NAME)
            who = f"process {process}" if process else "another process"
            if not settings.wait:
                raise RunBusyError(
                    f"{directory}: {who} trains this run (after a killed workflow its trainers go on); "
                    "wait for it or end it, then run again"
                ) from None
        if settings.stop():
            raise Interrupted
        if not waits:
            logger.info("%s: %s trains this run (after a killed workflow its trainers go on); waiting", directory, who)
        waits = True
