"""CIFAR-10 and CIFAR-100 from a cache, torchvision's files or class folders: the same tensors whatever the source."""

import http.client
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from repro.data.cache import cache_lock, read_cache, write_cache
from repro.data.expected import Expected, load_expected
from repro.data.folders import read_class_folders, summarize
from repro.data.types import Arrays, DataError, FullSet, Parts, canonical, fingerprint

logger = logging.getLogger(__name__)

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)

TORCHVISION_CLASSES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
BATCH_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
ARCHIVES = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}


class Source(NamedTuple):
    """A place where a data set may lie, and how it is read from there."""

    title: str
    path: Path
    read: Callable[[], Parts]


def cache_path(name: str, directory: Path) -> Path:
    """Where the cache of data set ``name`` lies."""
    return directory / "cache" / f"{name}.npz"


def load_cifar10(directory: Path, download: bool) -> FullSet:
    """CIFAR-10; see ``load_cifar``."""
    return load_cifar(load_expected("cifar10"), directory, download=download)


def load_cifar100(directory: Path, download: bool) -> FullSet:
    """CIFAR-100; see ``load_cifar``."""
    return load_cifar(load_expected("cifar100"), directory, download=download)


def load_cifar(expected: Expected, directory: Path, *, download: bool = False) -> FullSet:
    """Load CIFAR from the first usable source, and leave a cache for the next time.

    Args:
        expected: What its content has to be.
        directory: Where the sources are looked for.
        download: Download it through torchvision if no source is usable.

    Raises:
        DataError: If there is no source, or none that is whole; the message names paths and files.
    """
    parts = load_parts(expected, directory, download=download)
    return FullSet(
        classes=len(expected.classes),
        parts=parts,
        mean=MEAN,
        std=STD,
        flip=True,
        crop_padding=4,
        fingerprint=expected.fingerprint,
    )


def load_parts(expected: Expected, directory: Path, *, download: bool = False) -> Parts:
    """The two splits of ``load_cifar``, in canonical order and verified."""
    cache, *others = _sources(expected, directory)
    if cache.path.exists():
        try:
            return _verified(cache.read(), cache, expected)
        except DataError:
            pass  # read again below: another process may be rebuilding it
    elif not download and not any(source.path.exists() for source in others):
        raise DataError(_absent(expected, directory))
    with cache_lock(cache.path) as writable:
        source, parts = _first_usable([cache, *others], expected, directory, download)
        if source is not cache and writable:
            write_cache(cache.path, parts)
    return parts


def _sources(expected: Expected, directory: Path) -> list[Source]:
    name = expected.name
    cache, batches, folders = cache_path(name, directory), directory / BATCH_FOLDERS[name], directory / name
    return [
        Source("cache", cache, lambda: read_cache(cache)),
        Source("torchvision's files", batches, lambda: _read_torchvision(name, directory)),
        Source("class folders {train,test}/<class>/*.png", folders, lambda: read_class_folders(folders, expected)),
    ]


def _first_usable(sources: list[Source], expected: Expected, directory: Path, download: bool) -> tuple[Source, Parts]:
    problems: list[str] = []
    for source in sources:
        if not source.path.exists():
            continue
        logger.info("reading %s from %s", expected.name, source.path)
        try:
            parts = _verified(source.read(), source, expected)
        except DataError as error:
            problems.append(str(error))
            continue
        except OSError as error:
            problems.append(f"{source.path} ({source.title}) cannot be read: {error}")
            continue
        for problem in problems:
            logger.warning("%s\n(%s is used instead)", problem, source.path)
        return source, parts
    if download:
        _download(expected.name, directory)
        return _first_usable(sources, expected, directory, download=False)
    raise DataError("\n".join([*problems, f"{expected.name} has no other source. {_how_to_get(expected.name)}"]))


def _verified(parts: Parts, source: Source, expected: Expected) -> Parts:
    """Put ``parts`` in canonical order and hold them against the known fingerprint."""
    if source.title != "cache":  # a cache that is not in order already is damaged
        parts = Parts(canonical(parts.train), canonical(parts.test))
    if fingerprint(parts) != expected.fingerprint:
        raise DataError(f"the content of {source.path} ({source.title}) is not that of {expected.name}")
    return parts


def _torchvision_class(name: str) -> Any:
    try:
        from torchvision.datasets import cifar
    except ImportError as error:
        raise DataError(
            f"{BATCH_FOLDERS[name]} is read and downloaded through torchvision, which is not installed: "
            f"pip install torchvision, or copy cache/{name}.npz from a machine that has it"
        ) from error
    return getattr(cifar, TORCHVISION_CLASSES[name])


def _read_torchvision(name: str, directory: Path) -> Parts:
    """Read the files that torchvision extracts; it holds them against their MD5 sums first."""
    dataset_class = _torchvision_class(name)
    parts = []
    for train in (True, False):
        try:
            dataset = dataset_class(str(directory), train=train, download=False)
        except RuntimeError as error:
            damaged = summarize(_damaged_batches(dataset_class, directory / BATCH_FOLDERS[name]))
            raise DataError(f"{name}: files of torchvision's layout are missing or damaged:\n{damaged}") from error
        parts.append(Arrays(np.asarray(dataset.data), np.asarray(dataset.targets, dtype=np.int64)))
    return Parts(*parts)


def _damaged_batches(dataset_class: Any, folder: Path) -> list[str]:
    from torchvision.datasets.utils import check_integrity

    meta = (dataset_class.meta["filename"], dataset_class.meta["md5"])
    sums = [*map(tuple, dataset_class.train_list), *map(tuple, dataset_class.test_list), meta]
    return [
        f"{folder / file} {'is damaged' if (folder / file).exists() else 'is missing'}"
        for file, md5 in sums
        if not check_integrity(str(folder / file), md5)
    ]


def _download(name: str, directory: Path) -> None:
    """Download and extract through torchvision; an archive that is already here and whole is only extracted."""
    dataset_class = _torchvision_class(name)
    try:
        dataset_class(str(directory), train=True, download=True)
    except (OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
        raise DataError(
            f"{name} could not be downloaded from {dataset_class.url} to {directory} ({error}). "
            f"Try again, or put the archive there by hand and run the same command again. {_by_hand(name)}"
        ) from error


def _absent(expected: Expected, directory: Path) -> str:
    name = expected.name
    archive = directory / ARCHIVES[name]
    places = [f"  {source.path.absolute()} ({source.title})" for source in _sources(expected, directory)]
    hint = [f"The archive {archive} is there: the command above extracts it, without a network if it is whole."]
    return "\n".join(
        [
            f"{name} is not here. It was looked for at",
            *places,
            _how_to_get(name),
            *(hint if archive.exists() else []),
            "The scales quick and smoke need no download: they run on digits.",
        ]
    )


def _how_to_get(name: str) -> str:
    return f"Get it with: python -m repro data {name} --download\n{_by_hand(name)}"


def _by_hand(name: str) -> str:
    return (
        f"Or lay a mirror's images out as DIR/{name}/train/<class>/*.png and DIR/{name}/test/<class>/*.png, "
        "and name DIR in the environment variable REPRO_DATA_DIR."
    )
