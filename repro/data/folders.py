"""CIFAR as class folders, ``{train,test}/<class>/*.png``; whatever is wrong is named by its file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from repro.data.expected import Expected, image_hash
from repro.data.types import SPLITS, Arrays, DataError, Parts, Pixels

SHAPE = (32, 32)
NAMED = 5  # problems spelled out in a message; the rest are counted
DECODERS = 4  # threads; decoding waits for the disk as much as for the processor


def read_class_folders(root: Path, expected: Expected) -> Parts:
    """Read and verify the images below ``root``.

    Args:
        root: Folder with ``train`` and ``test``.
        expected: What has to be there.

    Returns:
        Both splits, by class and file name.

    Raises:
        DataError: If a class folder is missing or unexpected, images are missing, or a file is
            damaged or holds an image that does not belong there.
    """
    problems = [problem for split in SPLITS for problem in _misplaced(root / split, expected, split)]
    if problems:
        raise DataError(f"{expected.name}: the class folders in {root} are not complete:\n{summarize(problems)}")
    parts = []
    for split in SPLITS:
        images: list[Pixels] = []
        labels: list[int] = []
        for label, name in enumerate(expected.classes):
            files = list_images(root / split / name)
            decoded = decode_images(files)
            problems += _foreign(files, decoded, expected, split, label)
            images += [image for image in decoded if not isinstance(image, str)]
            labels += [label] * len(files)
        if not problems:
            parts.append(Arrays(np.stack(images), np.array(labels, dtype=np.int64)))
    if problems:
        raise DataError(f"{expected.name}: files in {root} are damaged or do not belong:\n{summarize(problems)}")
    return Parts(*parts)


def list_classes(folder: Path) -> list[str]:
    """Names of the class folders in ``folder``, sorted; hidden ones are not data."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def list_images(folder: Path) -> list[Path]:
    """PNG files in ``folder`` by name; hidden files (a system's leftovers) are not data."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png" and path.name[0] != ".")


def decode_images(files: Sequence[Path]) -> list[Pixels | str]:
    """For each file its image uint8 [32, 32, 3], or what is wrong with it."""
    try:
        import PIL.Image  # noqa: F401  # once, before the threads
    except ImportError as error:
        raise DataError("reading PNG files needs Pillow, which is not installed: pip install pillow") from error
    with ThreadPoolExecutor(DECODERS) as pool:
        return list(pool.map(_decode, files))


def summarize(problems: Sequence[str]) -> str:
    """The first few problems, a line each, and how many more there are."""
    more = [f"and {len(problems) - NAMED:,} more"] if len(problems) > NAMED else []
    return "\n".join(f"  {line}" for line in [*problems[:NAMED], *more])


def _decode(file: Path) -> Pixels | str:
    from PIL import Image

    try:
        with Image.open(file, formats=("PNG",)) as image:
            if image.mode != "RGB" or image.size != SHAPE:
                width, height = image.size
                return f"is {width}x{height} {image.mode}, not 32x32 RGB"
            return np.array(image)
    except Exception as error:  # whatever Pillow makes of damaged bytes, the file is what to look at
        return f"cannot be decoded ({error})"


def _misplaced(folder: Path, expected: Expected, split: str) -> Iterable[str]:
    """Folders that are missing or too many, and folders with too few images. Quick: nothing is decoded."""
    if not folder.is_dir():
        yield f"folder {folder} is missing"
        return
    found = list_classes(folder)
    for name in sorted(set(found) - set(expected.classes)):
        yield f"unexpected class folder {folder / name}"
    per_class = expected.hashes[split].shape[1]
    for name in expected.classes:
        if name not in found:
            yield f"missing class folder {folder / name}"
        elif (count := len(list_images(folder / name))) < per_class:
            yield f"{folder / name} has {count:,} images, {per_class:,} are expected"


def _foreign(
    files: Sequence[Path], decoded: Sequence[Pixels | str], expected: Expected, split: str, label: int
) -> Iterable[str]:
    """Files of one class that cannot be read or hold an image that is not, or no longer, expected there."""
    left = Counter(expected.hashes[split][label].tolist())
    known = set(left)
    for file, image in zip(files, decoded, strict=True):
        if isinstance(image, str):
            yield f"{file} {image}"
            continue
        number = image_hash(image)
        if left[number] > 0:
            left[number] -= 1
        elif number in known:
            yield f"{file} is one copy too many of another image in its folder"
        else:
            yield f"{file} holds an image that is not in {expected.name}'s {split} class {expected.classes[label]}"
