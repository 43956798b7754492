"""STL-10 (Coates, Ng, Lee 2011): 96x96 images of ten classes, from the binary files that torchvision extracts."""

import hashlib
from pathlib import Path

import numpy as np

from repro.data.types import SPLITS, Arrays, DataError, FullSet, Parts, canonical, channel_statistics, fingerprint

FOLDER = "stl10_binary"
CLASSES, CHANNELS, SIDE = 10, 3, 96
MD5 = {  # as torchvision lists them
    "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
    "train_y.bin": "5a34089d4802c674881badbb80307741",
    "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
    "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
}


def load_stl10(directory: Path, download: bool) -> FullSet:
    """5,000 training and 8,000 test images; the unlabelled ones are not read.

    Every file is held against its MD5 sum. Mean and deviation are those of the training images.

    Args:
        directory: Folder that holds ``stl10_binary/``.
        download: Download it through torchvision where it is not there: 2.6 GB, the unlabelled images included.

    Raises:
        DataError: If a file is absent or damaged, or the download fails.
    """
    folder = directory / FOLDER
    if download and not all((folder / name).exists() for name in MD5):
        _download(directory)
    for name in MD5:
        _check(folder / name)
    parts = Parts(*(canonical(_read(folder, split)) for split in SPLITS))
    mean, std = channel_statistics(parts.train.images)
    return FullSet(
        classes=CLASSES,
        parts=parts,
        mean=mean,
        std=std,
        flip=True,
        crop_padding=12,  # an eighth of the side, as CIFAR's 4 of 32
        fingerprint=fingerprint(parts),
    )


def _read(folder: Path, split: str) -> Arrays:
    """Files hold planes in column-major order, and labels from 1."""
    images = np.fromfile(folder / f"{split}_X.bin", dtype=np.uint8).reshape(-1, CHANNELS, SIDE, SIDE)
    labels = np.fromfile(folder / f"{split}_y.bin", dtype=np.uint8).astype(np.int64) - 1
    return Arrays(np.ascontiguousarray(images.transpose(0, 3, 2, 1)), labels)


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        raise DataError(
            f"stl10 is not here: {path.absolute()} is missing. Get it with: python -m repro data stl10 --download, or "
            f"extract torchvision's archive so that DIR/{FOLDER}/ is there, and name DIR in REPRO_DATA_DIR"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if found != MD5[path.name]:
        raise DataError(f"{path} is damaged or incomplete: its MD5 sum is {found}, not {MD5[path.name]}")


def _download(directory: Path) -> None:
    try:
        from torchvision.datasets import STL10

        STL10(str(directory), split="train", download=True)
    except (ImportError, OSError, RuntimeError, EOFError) as error:
        raise DataError(f"stl10 could not be downloaded to {directory} ({error}); try again") from error
