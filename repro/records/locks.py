"""Whether a process has a run now."""

from pathlib import Path

from filelock import FileLock, Timeout

from repro.records.record import LOCK_NAME


def is_locked(directory: Path) -> bool:
    """Whether a process trains the run of this folder now."""
    lock_file = directory / LOCK_NAME
    if not lock_file.exists():
        return False
    try:
        with FileLock(lock_file, timeout=0):
            return False
    except (Timeout, OSError):
        return True
