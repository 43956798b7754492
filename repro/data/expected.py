"""What CIFAR's content must be: shipped beside this module, made by ``repro.data.make_hashes``.

``expected.json`` holds the class names and the fingerprint of each data set,
``expected_images.npz`` a 32-bit hash of every image, by split and class. The
fingerprint proves a data set; the hashes tell which file is at fault when it fails.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from repro.data.types import SPLITS, Pixels

FOLDER = Path(__file__).parent
FACTS_NAME = "expected.json"
HASHES_NAME = "expected_images.npz"

Hashes = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Expected:
    """Known content of a data set.

    Attributes:
        name: Its name.
        classes: Names of the classes, in the order of the labels.
        fingerprint: sha256 (hex) of the whole.
        hashes: For each split, uint32 [classes, images of a class], each row sorted.
    """

    name: str
    classes: tuple[str, ...]
    fingerprint: str
    hashes: Mapping[str, Hashes]


def load_expected(name: str, folder: Path = FOLDER) -> Expected:
    """Read what is known about data set ``name``."""
    facts = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))[name]
    with np.load(folder / HASHES_NAME, allow_pickle=False) as table:
        hashes = {split: table[f"{name}_{split}"] for split in SPLITS}
    return Expected(name, tuple(facts["classes"]), facts["fingerprint"], hashes)


def image_hash(image: Pixels) -> int:
    """blake2b with a 4-byte digest, read as a big-endian number, of an image's bytes [32, 32, 3]."""
    return int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=4).digest(), "big")
