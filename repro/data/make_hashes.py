"""Make the files that say what CIFAR's content must be: ``python -m repro.data.make_hashes DIR [--output FOLDER]``.

The files in the package were made by this from CIFAR-10 and CIFAR-100 as PNGs,
laid out as ``DIR/cifar10/{train,test}/<class>/*.png`` and likewise for
``cifar100``: every image of the two data sets, losslessly converted. Anyone who has the
images can make them again and compare: file names and order do not matter,
the pixels do. The class names are the folders' names, sorted, which is the
order of CIFAR's own labels.

For each data set it writes the class names and the fingerprint
(``repro.data.types.fingerprint`` of the images in canonical order) to
``expected.json``, and for each split ``repro.data.expected.image_hash`` of
every image, sorted within its class, to ``expected_images.npz``.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np

from repro.data.expected import FACTS_NAME, FOLDER, HASHES_NAME, Expected, image_hash
from repro.data.folders import decode_images, list_classes, list_images
from repro.data.types import SPLITS, Arrays, DataError, Parts, canonical, fingerprint
from repro.records import atomic_write

NAMES = ("cifar10", "cifar100")


def describe_folders(name: str, root: Path) -> Expected:
    """Take the class folders below ``root`` for the truth about data set ``name``.

    Raises:
        DataError: If a file cannot be decoded, or the classes differ in size.
    """
    classes = list_classes(root / SPLITS[0])
    parts = [canonical(_read_split(root / split, classes)) for split in SPLITS]
    hashes = {}
    for split, arrays in zip(SPLITS, parts, strict=True):
        numbers = np.array([image_hash(image) for image in arrays.images], dtype=np.uint32)
        rows = [np.sort(numbers[arrays.labels == label]) for label in range(len(classes))]
        if len({len(row) for row in rows}) != 1:
            raise DataError(f"{root / split}: the classes have different numbers of images")
        hashes[split] = np.stack(rows)
    return Expected(name, tuple(classes), fingerprint(Parts(*parts)), hashes)


def write_expected(known: list[Expected], folder: Path) -> None:
    """Write the two files that ``repro.data.expected.load_expected`` reads."""
    facts = {item.name: {"fingerprint": item.fingerprint, "classes": list(item.classes)} for item in known}
    table = {f"{item.name}_{split}": item.hashes[split] for item in known for split in SPLITS}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **table)
    atomic_write(folder / HASHES_NAME, buffer.getvalue())
    atomic_write(folder / FACTS_NAME, json.dumps(facts, indent=1) + "\n")


def _read_split(folder: Path, classes: list[str]) -> Arrays:
    images, labels = [], []
    for label, name in enumerate(classes):
        files = list_images(folder / name)
        for file, image in zip(files, decode_images(files), strict=True):
            if isinstance(image, str):
                raise DataError(f"{file} {image}")
            images.append(image)
            labels.append(label)
    return Arrays(np.stack(images), np.array(labels, dtype=np.int64))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the table of CIFAR's image hashes.")
    parser.add_argument("directory", type=Path, help="folder that holds cifar10/ and cifar100/ as class folders")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to write to (the package itself)")
    arguments = parser.parse_args()
    known = [describe_folders(name, arguments.directory / name) for name in NAMES]
    write_expected(known, arguments.output)
    for item in known:
        print(f"{item.name}: {item.fingerprint}")


if __name__ == "__main__":
    main()
