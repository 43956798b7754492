"""A data set as one ``.npz`` that NumPy alone reads; written whole or not at all, by one process at a time."""

import io
import logging
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from repro.data.types import SPLITS, Arrays, DataError, Parts
from repro.records import StorageError, atomic_write
from repro.text import printable

logger = logging.getLogger(__name__)


def read_cache(path: Path) -> Parts:
    """Read a cache; whether its content is right is for the caller's fingerprint to say.

    Raises:
        DataError: If the file is not a whole cache.
    """
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            parts = Parts(*(Arrays(file[f"{split}_images"], file[f"{split}_labels"]) for split in SPLITS))
    except Exception as error:  # a damaged file can fail anywhere in the readers of zip, of arrays and of their headers
        raise DataError(f"the cache {path} is damaged ({printable(error)})") from error
    for images, labels in parts:
        if images.dtype != np.uint8 or labels.dtype != np.int64 or images.ndim != 4 or images.shape[:1] != labels.shape:
            raise DataError(f"the cache {path} is damaged (it holds {images.dtype} {images.shape})")
    return parts


def _check_sizes(path: Path) -> None:
    """Refuse a file whose arrays would be larger than it: they are stored as they are.

    Raises:
        ValueError: If one is, or it is no regular file: a pipe may never end.
    """
    if not path.is_file():
        raise ValueError("no regular file")
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                version = npy.read_magic(file)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = read(file)
            size = math.prod(shape) * dtype.itemsize
            if entry.compress_type or not size <= entry.file_size <= path.stat().st_size:
                raise ValueError(f"{entry.filename} claims {list(shape)} and has {entry.file_size} bytes")


def write_cache(path: Path, parts: Parts) -> None:
    """Write a cache, to be called under ``cache_lock``; a disk that does not take it is only a warning."""
    arrays = {
        f"{split}_{field}": getattr(part, field)
        for split, part in zip(SPLITS, parts, strict=True)
        for field in Arrays._fields
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    try:
        # What a killed writer left; under the lock nobody else is writing.
        for leftover in path.parent.glob(f".{path.name}.*"):
            leftover.unlink()
        atomic_write(path, buffer.getvalue())
    except (OSError, StorageError) as error:
        logger.warning("no cache of the data set was written, so that it is decoded again each time: %s", error)


@contextmanager
def cache_lock(path: Path) -> Iterator[bool]:
    """Hold the lock of the cache at ``path``; gives ``False`` where the folder allows no lock, hence no writing."""
    from filelock import FileLock

    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        logger.warning("%s cannot be written, so that the data set is decoded again each time: %s", path, error)
    try:
        yield lock.is_locked
    finally:
        lock.release()  # nothing where it is not held
