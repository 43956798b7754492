"""Files that are whole or not there: written beside their place, then renamed over it."""

import errno
import glob
import os
import platform
import re
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from repro.errors import ReproError

TEMPORARY = ".part"
# In the names of files that say which process made them; another machine's processes cannot be asked whether they live.
MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
OLD_SECONDS = 86_400.0


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
        for left in abandoned(path.parent, f".{path.name}"):
            left.unlink(missing_ok=True)
        maker = f"{MACHINE}-{os.getpid()}"
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.{maker}.", suffix=TEMPORARY, delete=False
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
    second = path.with_name(f".{former.name}.{MACHINE}-{os.getpid()}{TEMPORARY}")
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


def read_regular(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        OSError: If it cannot be read; also of a pipe or a device, which may never end.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    return path.read_bytes()


def abandoned(directory: Path, prefix: str = ".") -> Iterator[Path]:
    """Halves of files whose writer is dead: a process of this machine that is gone, or any of more than a day ago."""
    for path in directory.glob(f"{glob.escape(prefix)}*{TEMPORARY}"):
        made = re.search(rf"\.{MACHINE}-(\d+)[.\w]*\{TEMPORARY}$", path.name)
        if not is_alive(int(made[1])) if made else _is_old(path):
            yield path


def is_alive(process: int) -> bool:
    """Whether this machine has such a process."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > OLD_SECONDS
    except OSError:
        return False


def holder(path: Path) -> int | None:
    """The process that holds a lock on a file, where the system says so (Linux)."""
    try:
        inode, locks = path.stat().st_ino, Path("/proc/locks").read_text()
    except OSError:
        return None
    found = re.search(rf"WRITE +(\d+) +\S+:{inode} ", locks)
    return int(found[1]) if found and int(found[1]) else None
