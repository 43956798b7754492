"""Subsets and validation splits: balanced over the classes, repeatable, and without touching global generators."""

import hashlib

import numpy as np

from repro.data.types import Arrays, DataError, Integers


def take(arrays: Arrays, images: int | None) -> Arrays:
    """A class-balanced subset in the order of the whole; it does not depend on any seed.

    Smaller subsets lie within larger ones.

    Args:
        arrays: The whole split.
        images: At most this many images; ``None`` for all.
    """
    if images is None or images >= len(arrays.labels):
        return arrays
    ranks = _ranks_in_class(arrays.labels, "subset")
    chosen = np.lexsort((arrays.labels, ranks))[:images]
    return _pick(arrays, np.sort(chosen))


def hold_out(arrays: Arrays, fraction: float, seed: int) -> tuple[Arrays, Arrays]:
    """Split off a share of every class.

    Args:
        arrays: The split to divide.
        fraction: Share to hold out, 0 < fraction < 1; the number of images is rounded.
        seed: Chooses which images.

    Returns:
        What remains and what is held out: disjoint, together the whole, both in the order of the whole.

    Raises:
        DataError: If the share rounds to no image, or to all.
    """
    total = len(arrays.labels)
    count = round(fraction * total)
    if not 0 < count < total:
        raise DataError(
            f"validation_fraction {fraction:g} of {total} training images holds out {count}: "
            "raise the fraction or train_images so that both sides have images"
        )
    sizes = np.bincount(arrays.labels)[arrays.labels]
    # Sorted by the share of its class that lies before it, each prefix has every class in proportion.
    shares = (_ranks_in_class(arrays.labels, f"{seed} validation") + 0.5) / sizes
    held = np.zeros(total, dtype=bool)
    held[np.lexsort((arrays.labels, shares))[:count]] = True
    return _pick(arrays, np.flatnonzero(~held)), _pick(arrays, np.flatnonzero(held))


def _ranks_in_class(labels: Integers, key: str) -> Integers:
    """Each image's place [N] in a shuffle of its own class; ``key`` alone decides the shuffle."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest())
    order = np.random.default_rng(seed).permutation(len(labels))
    ranks = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        ranks[members] = np.arange(len(members))
    return ranks


def _pick(arrays: Arrays, indices: Integers) -> Arrays:
    return Arrays(arrays.images[indices], arrays.labels[indices])
