"""How a run asks for a data set."""

import os
from pathlib import Path

import torch

from repro.config.registry import DATASETS
from repro.data.cifar import cache_path
from repro.data.selection import hold_out, take
from repro.data.types import Arrays, DataError, FullSet, ImageData, Split


def data_directory() -> Path:
    """Where data sets lie: the environment variable ``REPRO_DATA_DIR``, or ``data`` in the current folder."""
    return Path(os.environ.get("REPRO_DATA_DIR") or "data").expanduser()


def load_dataset(
    name: str,
    *,
    train_images: int | None = None,
    test_images: int | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
    data_dir: Path | None = None,
) -> ImageData:
    """Load a data set as tensors in canonical order (by class, then by image content).

    Global random generators are neither used nor changed.

    Args:
        name: A name in ``DATASETS``.
        train_images: At most this many training images, class-balanced, the same for every seed.
        test_images: At most this many test images, likewise.
        validation_fraction: Share of each class to hold out of the (subset of) training images, 0 to below 1.
        seed: Chooses the images that are held out, nothing else.
        data_dir: Where to look for it; ``data_directory()`` if not given.

    Raises:
        DataError: If the name or a number makes no sense, or the data are absent or damaged.
    """
    for option, count in (("train_images", train_images), ("test_images", test_images)):
        if count is not None and count < 1:
            raise DataError(f"{option} is {count}: give at least 1, or none for all images")
    if not 0 <= validation_fraction < 1:
        raise DataError(f"validation_fraction is {validation_fraction:g}: give 0 or more, and less than 1")
    full = _load_full(name, data_dir)
    train, test = take(full.parts.train, train_images), take(full.parts.test, test_images)
    validation = None
    if validation_fraction > 0:
        train, validation = hold_out(train, validation_fraction, seed)
    return ImageData(
        name=name,
        classes=full.classes,
        train=_tensors(train),
        test=_tensors(test),
        validation=None if validation is None else _tensors(validation),
        mean=full.mean,
        std=full.std,
        flip=full.flip,
        crop_padding=full.crop_padding,
        fingerprint=full.fingerprint,
    )


def prepare_dataset(name: str, *, data_dir: Path | None = None, download: bool = False) -> str:
    """Make a data set ready for training: find or download it, verify it, and write its cache.

    Args:
        name: A name in ``DATASETS``.
        data_dir: Where it lies or goes; ``data_directory()`` if not given.
        download: Download it if it is not there.

    Returns:
        A one-line summary.

    Raises:
        DataError: If it is absent or damaged, or the download fails.
    """
    full = _load_full(name, data_dir, download)
    train, test = (len(part.labels) for part in full.parts)
    cache = cache_path(name, data_dir or data_directory())
    cached = f", cached at {cache}" if cache.exists() else ""
    return (
        f"{name}: {train:,} training and {test:,} test images of {full.classes} classes, "
        f"sha256 {full.fingerprint[:12]}{cached}"
    )


def _load_full(name: str, data_dir: Path | None, download: bool = False) -> FullSet:
    if name not in DATASETS:
        raise DataError(f"there is no data set {name!r}; there are {', '.join(sorted(DATASETS))}")
    full: FullSet = DATASETS[name](data_dir or data_directory(), download)
    return full


def _tensors(arrays: Arrays) -> Split:
    return Split(torch.from_numpy(arrays.images), torch.from_numpy(arrays.labels))
