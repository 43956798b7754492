"""Digits that need no download: scikit-learn's UCI handwritten digits as 32x32 RGB, single or in pairs.

The 1,797 source digits (8x8, values 0..16) are divided into train and test
once, before anything is made of them, so that no source digit is on both sides
of either data set. All choices follow from hashes and all arithmetic is exact:
every machine and every version of NumPy makes the same bytes.
"""

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from repro.data.types import (
    Arrays,
    DataError,
    FullSet,
    Integers,
    Parts,
    Pixels,
    canonical,
    channel_statistics,
    fingerprint,
)

SIDE = 32
TEST_SHARE = 5  # one source digit in five is for testing
TRAIN_PAIRS, TEST_PAIRS = 60, 15  # for each of the 100 classes
MAX_VALUE = 16  # of a source pixel


def load_digits10(directory: Path, download: bool) -> FullSet:
    """Single digits: 1,438 training and 359 test images, 10 classes; scikit-learn ships them."""
    sources, labels = _sources()
    train, test = split_sources(labels)
    images = _rgb(_stretch(sources, SIDE, SIDE))
    return _full_set(10, Parts(Arrays(images[train], labels[train]), Arrays(images[test], labels[test])))


def load_digits100(directory: Path, download: bool) -> FullSet:
    """Pairs of digits side by side: 6,000 training and 1,500 test images, class = 10 * left + right."""
    sources, labels = _sources()
    halves = _stretch(sources, SIDE, SIDE // 2)
    train, test = split_sources(labels)
    made = (
        _draw_pairs(halves, labels, pair_sources(labels, train, TRAIN_PAIRS, "train")),
        _draw_pairs(halves, labels, pair_sources(labels, test, TEST_PAIRS, "test")),
    )
    return _full_set(100, Parts(*made))


def split_sources(labels: Integers) -> tuple[Integers, Integers]:
    """Indices of the source digits for training and for testing, stratified by digit.

    Args:
        labels: Digit [N] of each source image.
    """
    test: list[int] = []
    for digit in range(10):
        members = _shuffled(np.flatnonzero(labels == digit).tolist(), f"split {digit}")
        test += members[: round(len(members) / TEST_SHARE)]
    test_indices = np.array(sorted(test), dtype=np.int64)
    return np.setdiff1d(np.arange(len(labels)), test_indices), test_indices


def pair_sources(labels: Integers, pool: Integers, per_class: int, key: str) -> Integers:
    """Choose the sources of the pairs "00" to "99".

    Args:
        labels: Digit [N] of each source image.
        pool: Indices of the sources that may be used.
        per_class: Pairs of each class, at most the rarest digit's number of sources; none has the same left half.
        key: Decides the choice.

    Returns:
        [100 * per_class, 2] indices of left and right source; row ``r`` is of class ``r // per_class``.
    """
    of_digit = [pool[labels[pool] == digit].tolist() for digit in range(10)]
    pairs: list[tuple[int, int]] = []
    for left in range(10):
        for right in range(10):
            lefts = _shuffled(of_digit[left], f"{key} {left}{right} left")
            rights = _shuffled(of_digit[right], f"{key} {left}{right} right")
            pairs += list(zip(lefts, rights, strict=False))[:per_class]
    return np.array(pairs, dtype=np.int64)


def _sources() -> tuple[npt.NDArray[np.float64], Integers]:
    """Source digits float64 [1797, 8, 8], values 0..16, and their labels [1797].

    Read from the file within scikit-learn that its ``load_digits`` reads: importing scikit-learn would take
    longer than a small run's first epoch.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DataError("the digits data sets come with scikit-learn, which is not installed: pip install scikit-learn")
    path = Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    try:
        table = np.loadtxt(path, delimiter=",")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the digits of scikit-learn cannot be read ({error}); install it anew") from error
    return table[:, :64].reshape(-1, 8, 8), table[:, 64].astype(np.int64)


def _shuffled(values: Iterable[int], key: str) -> list[int]:
    return sorted(values, key=lambda value: hashlib.blake2b(f"{key} {value}".encode()).digest())


def _stretch(sources: npt.NDArray[np.float64], height: int, width: int) -> Pixels:
    """Enlarge [N, 8, 8] of 0..16 to uint8 [N, height, width] of 0..255, bilinearly."""
    rows, columns = (_weights(size, sources.shape[1]) for size in (height, width))
    # Weights are eighths or quarters and values whole, so the products are exact whatever the order of summing.
    values = rows @ sources @ columns.T
    return np.rint(values * 255 / MAX_VALUE).astype(np.uint8)


def _weights(size: int, source_size: int) -> npt.NDArray[np.float64]:
    """Weights [size, source_size] of linear interpolation between pixel centres."""
    centres = np.clip((np.arange(size) + 0.5) * source_size / size - 0.5, 0, source_size - 1)
    return np.maximum(0.0, 1.0 - np.abs(centres[:, None] - np.arange(source_size)))


def _rgb(gray: Pixels) -> Pixels:
    return np.repeat(gray[..., None], 3, axis=-1)


def _draw_pairs(halves: Pixels, labels: Integers, pairs: Integers) -> Arrays:
    left, right = pairs.T
    images = np.concatenate([halves[left], halves[right]], axis=2)
    return Arrays(_rgb(images), 10 * labels[left] + labels[right])


def _full_set(classes: int, parts: Parts) -> FullSet:
    parts = Parts(canonical(parts.train), canonical(parts.test))
    mean, std = channel_statistics(parts.train.images)
    return FullSet(
        classes=classes,
        parts=parts,
        mean=mean,
        std=std,
        flip=False,  # a mirrored digit is another sign, a mirrored pair another number
        crop_padding=2,
        fingerprint=fingerprint(parts),
    )
