"""A tiny CIFAR-10 that the tests make themselves: random images, in any of the layouts."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.data.expected import Expected, load_expected
from repro.data.make_hashes import describe_folders
from repro.data.types import SPLITS, Arrays, Parts

SIZES = {"train": 5, "test": 2}  # images of a class


@dataclass(frozen=True)
class TinyCifar:
    """Ten real class names, seven random images each, and the expectation that fits them."""

    parts: Parts
    expected: Expected

    def write_folders(self, directory: Path, seed: int = 0) -> Path:
        """Class folders in ``directory``; ``seed`` shuffles which image gets which file name."""
        root = directory / "cifar10"
        write_class_folders(root, self.parts, self.expected.classes, seed)
        return root

    def write_batches(self, directory: Path) -> Path:
        """The pickled files that torchvision reads."""
        return write_batches(directory, self.parts, self.expected.classes)


def write_class_folders(root: Path, parts: Parts, classes: tuple[str, ...], seed: int) -> None:
    generator = np.random.default_rng(seed)
    for split, arrays in zip(SPLITS, parts, strict=True):
        for label, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            members = generator.permutation(np.flatnonzero(arrays.labels == label))
            for number, index in enumerate(members):
                Image.fromarray(arrays.images[index]).save(folder / f"{number:05d}.png")


def write_batches(directory: Path, parts: Parts, classes: tuple[str, ...]) -> Path:
    folder = directory / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    train, test = parts
    mixed = np.random.default_rng(1).permutation(len(train.labels))
    batches = [(f"data_batch_{i}", train, part) for i, part in enumerate(np.array_split(mixed, 5), 1)]
    for name, arrays, indices in [*batches, ("test_batch", test, np.arange(len(test.labels)))]:
        rows = arrays.images[indices].transpose(0, 3, 1, 2).reshape(len(indices), -1)  # planes, as CIFAR has them
        content = {"data": rows, "labels": arrays.labels[indices].tolist()}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(classes)}))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyCifar:
    generator = np.random.default_rng(0)
    classes = load_expected("cifar10").classes
    parts = []
    for split in SPLITS:
        count = SIZES[split] * len(classes)
        images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        labels = np.arange(count) % len(classes)
        parts.append(Arrays(images, labels))
    parts[0].images[20] = parts[0].images[10]  # class 0 twice has the same image, as CIFAR-100 does
    root = tmp_path_factory.mktemp("truth") / "cifar10"
    write_class_folders(root, Parts(*parts), classes, seed=5)
    return TinyCifar(Parts(*parts), describe_folders("cifar10", root))


@pytest.fixture
def directory(tiny: TinyCifar, tmp_path: Path) -> Path:
    """A data directory with the tiny CIFAR as class folders."""
    tiny.write_folders(tmp_path)
    return tmp_path


@pytest.fixture
def no_md5(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision take any file that exists for whole: written files have other MD5 sums than the real ones."""
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: Path(path).exists())


@pytest.fixture
def batch_writer() -> Callable[[Path, Parts, tuple[str, ...]], Path]:
    return write_batches
