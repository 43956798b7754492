"""CIFAR from its sources: one order, one content, and errors that name what is wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.data import DataError, cifar, load_dataset
from repro.data.cifar import load_parts
from repro.data.expected import load_expected
from repro.data.make_hashes import write_expected
from repro.data.types import Parts, fingerprint


def same(first: Parts, second: Parts) -> bool:
    return all(np.array_equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))


# --- one order, one content ---------------------------------------------------------------------------------------


def test_order_is_by_class_then_content(tiny, directory):
    for arrays, source in zip(load_parts(tiny.expected, directory), tiny.parts, strict=True):
        keys = [(int(label), image.tobytes()) for image, label in zip(*arrays, strict=True)]
        assert keys == sorted((int(label), image.tobytes()) for image, label in zip(*source, strict=True))
        assert arrays.images.dtype == np.uint8
        assert arrays.labels.dtype == np.int64


def test_file_names_leave_no_trace(tiny, tmp_path):
    tiny.write_folders(tmp_path / "a", seed=1)
    tiny.write_folders(tmp_path / "b", seed=2)
    first = tmp_path / "a/cifar10/train/cat/00000.png"
    assert first.read_bytes() != (tmp_path / "b/cifar10/train/cat/00000.png").read_bytes()
    assert same(load_parts(tiny.expected, tmp_path / "a"), load_parts(tiny.expected, tmp_path / "b"))


def test_torchvision_files_give_the_same_tensors(tiny, directory, tmp_path, no_md5):
    tiny.write_batches(tmp_path / "batches")
    assert same(load_parts(tiny.expected, tmp_path / "batches"), load_parts(tiny.expected, directory))


def test_torchvision_files_come_before_class_folders(tiny, directory, no_md5, monkeypatch):
    tiny.write_batches(directory)
    monkeypatch.setattr(cifar, "read_class_folders", lambda *_: pytest.fail("class folders were read"))
    load_parts(tiny.expected, directory)


def test_cache_is_used_and_gives_the_same_tensors(tiny, directory):
    first = load_parts(tiny.expected, directory)
    shutil.rmtree(directory / "cifar10")
    assert same(load_parts(tiny.expected, directory), first)


def test_fingerprint_sees_pixels_labels_and_sizes(tiny):
    train, test = tiny.parts
    changed_image, changed_label = train.images.copy(), train.labels.copy()
    changed_image[-1, -1, -1, -1] ^= 1
    changed_label[-1] ^= 1
    others = [
        Parts(train._replace(images=changed_image), test),
        Parts(train._replace(labels=changed_label), test),
        Parts(test, train),
    ]
    assert len({fingerprint(parts) for parts in [tiny.parts, *others]}) == 4


def test_expectation_survives_its_files(tiny, tmp_path):
    write_expected([tiny.expected], tmp_path)
    again = load_expected("cifar10", tmp_path)
    assert (again.classes, again.fingerprint) == (tiny.expected.classes, tiny.expected.fingerprint)
    assert all(np.array_equal(again.hashes[split], tiny.expected.hashes[split]) for split in ("train", "test"))


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_shipped_expectations_have_every_image(name, classes):
    expected = load_expected(name)
    assert len(expected.fingerprint) == 64
    assert list(expected.classes) == sorted(set(expected.classes))
    assert {split: table.shape for split, table in expected.hashes.items()} == {
        "train": (classes, 50_000 // classes),
        "test": (classes, 10_000 // classes),
    }


# --- errors name what is wrong ------------------------------------------------------------------------------------


def message(tiny, directory: Path) -> str:
    with pytest.raises(DataError) as error:
        load_parts(tiny.expected, directory)
    assert not (directory / "cache/cifar10.npz").exists()
    return str(error.value)


@pytest.mark.parametrize("keep", [0, 10, 40, 1500])
def test_truncated_file_is_named(tiny, directory, keep):
    file = directory / "cifar10/test/dog/00001.png"
    file.write_bytes(file.read_bytes()[:keep])
    text = message(tiny, directory)
    assert f"{file} cannot be decoded" in text
    assert "00000.png" not in text


def test_wrong_size_and_mode_are_named(tiny, directory):
    Image.new("RGB", (32, 31)).save(directory / "cifar10/train/cat/00001.png")
    Image.new("L", (32, 32)).save(directory / "cifar10/train/dog/00001.png")
    text = message(tiny, directory)
    assert f"{directory / 'cifar10/train/cat/00001.png'} is 32x31 RGB, not 32x32 RGB" in text
    assert f"{directory / 'cifar10/train/dog/00001.png'} is 32x32 L" in text


def test_foreign_images_are_named_five_and_counted(tiny, directory):
    for number, label in enumerate(("bird", "cat", "deer", "dog", "frog", "horse", "ship")):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(directory / f"cifar10/train/{label}/00002.png")
    text = message(tiny, directory)
    assert text.count("holds an image that is not in cifar10's train class") == 5
    assert str(directory / "cifar10/train/bird/00002.png") in text
    assert "and 2 more" in text


def test_images_in_the_wrong_class_are_named(tiny, directory):
    first, second = (directory / f"cifar10/test/{name}/00000.png" for name in ("cat", "dog"))
    swapped = first.read_bytes(), second.read_bytes()
    second.write_bytes(swapped[0])
    first.write_bytes(swapped[1])
    text = message(tiny, directory)
    assert str(first) in text
    assert str(second) in text


def test_surplus_copy_is_named(tiny, directory):
    shutil.copy(directory / "cifar10/train/cat/00000.png", directory / "cifar10/train/cat/copy.png")
    assert f"{directory / 'cifar10/train/cat/copy.png'} is one copy too many" in message(tiny, directory)


def test_missing_images_are_counted_by_folder(tiny, directory):
    (directory / "cifar10/train/frog/00003.png").unlink()
    assert f"{directory / 'cifar10/train/frog'} has 4 images, 5 are expected" in message(tiny, directory)


def test_missing_and_unexpected_classes_are_named(tiny, directory):
    (directory / "cifar10/train/frog").rename(directory / "cifar10/train/toad")
    shutil.rmtree(directory / "cifar10/test")
    text = message(tiny, directory)
    assert f"missing class folder {directory / 'cifar10/train/frog'}" in text
    assert f"unexpected class folder {directory / 'cifar10/train/toad'}" in text
    assert f"folder {directory / 'cifar10/test'} is missing" in text


def test_hidden_leftovers_are_not_data(tiny, directory):
    (directory / "cifar10/train/cat/._00000.png").write_bytes(b"leftover")
    (directory / "cifar10/train/.cache").mkdir()
    load_parts(tiny.expected, directory)


def test_content_is_held_against_the_fingerprint_too(tiny, directory, no_md5, tmp_path):
    test = tiny.parts.test._replace(images=tiny.parts.test.images ^ 1)
    altered = type(tiny)(Parts(tiny.parts.train, test), tiny.expected)
    folder = altered.write_batches(tmp_path / "batches")
    assert f"the content of {folder} (torchvision's files) is not that of cifar10" in message(
        tiny, tmp_path / "batches"
    )


def test_damaged_torchvision_files_are_named(tiny, tmp_path):
    folder = tiny.write_batches(tmp_path)  # MD5 sums are not the real ones
    (folder / "data_batch_2").unlink()
    text = message(tiny, tmp_path)
    assert f"{folder / 'data_batch_1'} is damaged" in text
    assert f"{folder / 'data_batch_2'} is missing" in text


def test_damaged_source_gives_way_to_a_whole_one_with_a_warning(tiny, directory, caplog):
    folder = tiny.write_batches(directory)
    load_parts(tiny.expected, directory)
    assert f"{folder / 'data_batch_1'} is damaged" in caplog.text
    assert f"{directory / 'cifar10'} is used instead" in caplog.text


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_absent_data_says_where_and_how(name, tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(DataError) as error:
        load_dataset(name)
    text = str(error.value)
    batches = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    for place in (f"cache/{name}.npz", batches, name):
        assert f"{tmp_path / 'nowhere' / place} (" in text
    assert f"python -m repro data {name} --download" in text
    assert "REPRO_DATA_DIR" in text
    assert "quick and smoke need no download" in text
    assert not (tmp_path / "nowhere").exists()


def test_archive_that_is_not_extracted_is_mentioned(tiny, tmp_path):
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(b"")
    assert f"The archive {archive} is there" in message(tiny, tmp_path)


def test_unknown_data_set_lists_the_known():
    with pytest.raises(DataError, match=r"no data set 'cifar11'.*cifar10, cifar100, digits10, digits100"):
        load_dataset("cifar11")
