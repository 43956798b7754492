"""STL-10's binary files, written small: order of planes, labels, sums, and what is said where they are not there."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from repro.cli import main
from repro.config.registry import DATASETS
from repro.data import DataError, load_dataset, stl10

SIZES = {"train": 20, "test": 10}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few made-up images in STL-10's format, whose sums count as the real ones."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for split, count in SIZES.items():
        generator.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8).tofile(folder / f"{split}_X.bin")
        (np.arange(count) % 10 + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in stl10.MD5}
    monkeypatch.setattr(stl10, "MD5", sums)
    return tmp_path


def test_images_and_labels_are_torchvision_s(directory: Path) -> None:
    """Its reader transposes planes of columns; ours has the same pixels, by class and content."""
    from torchvision.datasets import STL10

    theirs = STL10.__new__(STL10)
    theirs.root, theirs.base_folder = str(directory), stl10.FOLDER
    images, labels = theirs._STL10__loadfile("train_X.bin", "train_y.bin")
    data = load_dataset("stl10", data_dir=directory)
    expected = {(image.transpose(1, 2, 0).tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}
    found = {(i.tobytes(), int(y)) for i, y in zip(data.train.images.numpy(), data.train.labels, strict=True)}
    assert found == expected
    assert data.image_shape == DATASETS["stl10"].image_shape == (3, 96, 96)
    assert (data.classes, data.flip, len(data.test.labels)) == (10, True, 10)
    pixels = data.train.images.double() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 1, 2)).tolist(), abs=1e-4)
    assert data.std == pytest.approx(pixels.std((0, 1, 2), correction=0).tolist(), abs=1e-4)


def test_the_sums_are_those_that_torchvision_knows() -> None:
    from torchvision.datasets import STL10

    known = {name: md5 for name, md5 in [*STL10.train_list, *STL10.test_list] if "unlabeled" not in name}
    assert known == stl10.MD5


def test_damaged_and_absent_files_are_named(directory: Path) -> None:
    path = directory / "stl10_binary" / "test_X.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test_X\.bin is damaged or incomplete"):
        load_dataset("stl10", data_dir=directory)
    path.unlink()
    with pytest.raises(DataError, match=r"stl10 is not here: .*test_X\.bin is missing"):
        load_dataset("stl10", data_dir=directory)


def test_the_command_says_what_it_found(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPRO_DATA_DIR", str(directory))
    assert main(["data", "stl10"]) == 0
    assert "stl10: 20 training and 10 test images of 10 classes, sha256" in capsys.readouterr().out
