"""Files that are whole or not there: written beside their place, then renamed over it."""

import os
import tempfile
from pathlib import Path

from repro.errors import ReproError

TEMPORARY = ".part"


class StorageError(ReproError):
    """A file could not be written; what stood at its path before still stands there."""


def atomic_write(path: str | Path, content: bytes | str, former: Path | None = None) -> None:
    """Write ``content`` to ``path`` so that a reader or a crash never meets a half of it.

    Args:
        path: Where to write; its folder is made.
        content: Bytes, or text to be encoded as UTF-8.
        former: Where the file that stands at ``path`` goes, in the same folder; by default it is gone.

    Raises:
        StorageError: If the disk is full or the folder cannot be written. No
            temporary file stays behind, and an older file at ``path`` is untouched.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY, delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        if former is not None:
            _keep(path, former)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path} ({len(data) / 1e6:.1f} MB): {error.strerror}. What was there before is untouched; "
            "make room or choose another folder, then run the same command again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _keep(path: Path, former: Path) -> None:
    """Have ``former`` be the file at ``path`` too, so that there is one at ``path`` at any moment."""
    if not path.exists():
        return
    second = path.with_name(f".{former.name}.{os.getpid()}{TEMPORARY}")
    try:
        second.unlink(missing_ok=True)
        second.hardlink_to(path)
        second.replace(former)
    except OSError:  # a file system without hard links
        path.replace(former)
    finally:
        second.unlink(missing_ok=True)  # it stays where it was the same file as ``former``


def delete_temporary_files(directory: Path) -> None:
    """Remove what a killed writer left; only for a folder that no other process writes to."""
    for path in directory.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)
