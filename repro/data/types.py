"""What a data set is: to the trainer (tensors), and to the loaders (arrays in one canonical order)."""

import hashlib
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from repro.errors import ReproError

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Channels = tuple[float, ...]  # one figure a channel
Shape = tuple[int, int, int]  # channels, height, width

SPLITS = ("train", "test")


class DataError(ReproError):
    """A data set is unknown, absent or damaged, or was asked for in a way it cannot be given."""


@dataclass(frozen=True)
class Split:
    """Images of one split, as they are stored: not normalised, not augmented.

    Attributes:
        images: uint8 [N, H, W, C]; RGB where C is 3.
        labels: int64 [N], from 0.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Split":
        """The same images on ``device``."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class ImageData:
    """A data set ready for training.

    Attributes:
        name: Its name in the registry.
        classes: Number of classes.
        train: Training images, without those held out for validation.
        test: Test images.
        validation: Images held out of the training images; ``None`` if none were asked for.
        mean: Mean of each channel, of pixels scaled to 0..1.
        std: Standard deviation to divide by, of pixels scaled to 0..1.
        flip: Whether a mirrored image is still of its class.
        crop_padding: Pixels of zero padding on each side for random crops.
        fingerprint: sha256 (hex) of the whole data set in canonical order, before subsets and validation.
    """

    name: str
    classes: int
    train: Split
    test: Split
    validation: Split | None
    mean: Channels
    std: Channels
    flip: bool
    crop_padding: int
    fingerprint: str

    @property
    def image_shape(self) -> Shape:
        """Channels, height and width of an image."""
        height, width, channels = self.train.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device) -> "ImageData":
        """The same data on ``device``: uint8, 184 MB for CIFAR, so a GPU holds all of it."""
        validation = self.validation.to(device) if self.validation else None
        return replace(self, train=self.train.to(device), test=self.test.to(device), validation=validation)


class Arrays(NamedTuple):
    """One split as arrays: uint8 [N, H, W, C] and int64 [N]."""

    images: Pixels
    labels: Integers


class Parts(NamedTuple):
    """Both splits of a data set, in the order of ``SPLITS``."""

    train: Arrays
    test: Arrays


@dataclass(frozen=True)
class FullSet:
    """A whole data set in canonical order; the fields are those of ``ImageData``."""

    classes: int
    parts: Parts
    mean: Channels
    std: Channels
    flip: bool
    crop_padding: int
    fingerprint: str


def canonical(arrays: Arrays) -> Arrays:
    """The same images by class, then by content, so that file names and sources leave no trace in a run."""
    images = np.ascontiguousarray(arrays.images)
    order: list[int] = []
    for label in np.unique(arrays.labels):
        members = np.flatnonzero(arrays.labels == label).tolist()
        order += sorted(members, key=lambda index: images[index].tobytes())
    return Arrays(images[order], np.asarray(arrays.labels, dtype=np.int64)[order])


def channel_statistics(images: Pixels) -> tuple[Channels, Channels]:
    """Mean and standard deviation of each channel of [N, H, W, C], pixels scaled to 0..1; from exact counts."""
    figures = [_statistics(images[..., channel]) for channel in range(images.shape[-1])]
    return tuple(mean for mean, _ in figures), tuple(std for _, std in figures)


def _statistics(pixels: Pixels) -> tuple[float, float]:
    counts = np.bincount(pixels.ravel(), minlength=256)
    values = np.arange(256)
    total = int(counts.sum())
    mean = int(counts @ values) / total
    variance = int(counts @ values**2) / total - mean**2
    return round(mean / 255, 4), round(variance**0.5 / 255, 4)


def fingerprint(parts: Parts) -> str:
    """sha256 (hex) over each split's name, size, image bytes and labels (little-endian int64)."""
    digest = hashlib.sha256()
    for split, arrays in zip(SPLITS, parts, strict=True):
        digest.update(f"{split} {len(arrays.labels)}\n".encode())
        digest.update(np.ascontiguousarray(arrays.images).reshape(-1).data)
        digest.update(arrays.labels.astype("<i8").tobytes())
    return digest.hexdigest()
