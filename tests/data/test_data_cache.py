"""CIFAR's cache, its concurrent writers, and downloads."""

import logging
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from repro.data import DataError, cifar, load_dataset, prepare_dataset
from repro.data.cifar import load_parts
from repro.data.folders import read_class_folders
from repro.data.types import Parts


def same(first: Parts, second: Parts) -> bool:
    return all(np.array_equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_damaged_cache_is_rebuilt(tiny, directory, damage, caplog):
    first = load_parts(tiny.expected, directory)
    cache = directory / "cache/cifar10.npz"
    whole = cache.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "truncated": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "empty": b"",
        "other": b"no numbers in here",
    }
    cache.write_bytes(damaged[damage])
    assert same(load_parts(tiny.expected, directory), first)
    assert cache.read_bytes() == whole
    assert f"the cache {cache} is damaged" in caplog.text


def test_cache_of_other_content_is_rebuilt(tiny, directory, caplog):
    first = load_parts(tiny.expected, directory)
    cache = directory / "cache/cifar10.npz"
    np.savez(
        cache, **{f"{s}_{f}": getattr(getattr(first, s), f)[::-1] for s in first._fields for f in first[0]._fields}
    )
    assert same(load_parts(tiny.expected, directory), first)
    assert f"the content of {cache} (cache) is not that of cifar10" in caplog.text


def test_damaged_cache_without_source_is_an_error(tiny, tmp_path):
    cache = tmp_path / "cache/cifar10.npz"
    cache.parent.mkdir()
    cache.write_bytes(b"PK")
    with pytest.raises(DataError) as error:
        load_parts(tiny.expected, tmp_path)
    assert f"the cache {cache} is damaged" in str(error.value)
    assert "cifar10 has no other source" in str(error.value)
    assert "--download" in str(error.value)


def test_full_disk_is_only_a_warning(tiny, directory, monkeypatch, caplog):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    load_parts(tiny.expected, directory)
    assert "No space left on device" in caplog.text
    assert [path.name for path in (directory / "cache").iterdir() if path.suffix != ".lock"] == []


def test_unwritable_folder_is_only_a_warning(tiny, directory, caplog):
    (directory / "cache").write_bytes(b"a file where the folder should be")
    load_parts(tiny.expected, directory)
    assert f"{directory / 'cache/cifar10.npz'} cannot be written" in caplog.text


def in_processes(count: int, work) -> list[int | None]:
    context = multiprocessing.get_context("fork")  # children inherit what the test has patched
    processes = [context.Process(target=work) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_two_processes_at_once_decode_once(tiny, directory, monkeypatch):
    log = directory / "decoded"

    def slow(root, expected):
        with log.open("a") as file:
            file.write("x")
        time.sleep(0.5)  # long enough for the other process to arrive
        return read_class_folders(root, expected)

    monkeypatch.setattr(cifar, "read_class_folders", slow)
    assert in_processes(2, lambda: load_parts(tiny.expected, directory)) == [0, 0]
    assert log.read_text() == "x"
    shutil.rmtree(directory / "cifar10")
    load_parts(tiny.expected, directory)


def test_killed_writer_leaves_no_half_cache(tiny, directory, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), 9))
        assert in_processes(1, lambda: load_parts(tiny.expected, directory)) == [-9]
    folder = directory / "cache"
    assert not (folder / "cifar10.npz").exists()
    assert len(list(folder.glob(".cifar10.npz.*"))) == 1, "the test has to kill the writer while it writes"
    load_parts(tiny.expected, directory)
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == ["cifar10.npz"]


# --- preparing and downloading ------------------------------------------------------------------------------------


def test_prepare_summarizes_and_caches(tiny, directory, monkeypatch):
    monkeypatch.setattr(cifar, "load_expected", lambda name: tiny.expected)
    line = prepare_dataset("cifar10", data_dir=directory)
    assert line.startswith("cifar10: 50 training and 20 test images of 10 classes")
    assert line.endswith(f"cached at {directory / 'cache/cifar10.npz'}")
    data = load_dataset("cifar10", data_dir=directory)
    assert (data.mean, data.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert (data.classes, data.flip, data.crop_padding) == (10, True, 4)
    assert data.fingerprint == tiny.expected.fingerprint


def test_download_is_read_and_cached(tiny, tmp_path, no_md5, monkeypatch):
    def download(dataset) -> None:
        tiny.write_batches(Path(dataset.root))

    monkeypatch.setattr("torchvision.datasets.cifar.CIFAR10.download", download)
    parts = load_parts(tiny.expected, tmp_path / "new", download=True)
    shutil.rmtree(tmp_path / "new/cifar-10-batches-py")
    assert same(load_parts(tiny.expected, tmp_path / "new"), parts)


def test_failed_download_says_how_else(tiny, tmp_path, monkeypatch):
    def download(dataset) -> None:
        raise OSError("name not resolved")

    monkeypatch.setattr("torchvision.datasets.cifar.CIFAR10.download", download)
    with pytest.raises(DataError, match=r"could not be downloaded from https.*name not resolved") as error:
        load_parts(tiny.expected, tmp_path, download=True)
    assert "DIR/cifar10/train/<class>/*.png" in str(error.value)


def test_what_is_here_is_not_downloaded(tiny, directory, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.cifar.CIFAR10.download", lambda _: pytest.fail("downloaded"))
    load_parts(tiny.expected, directory, download=True)
    load_parts(tiny.expected, directory, download=True)


def test_reading_is_announced(tiny, directory, caplog):
    with caplog.at_level(logging.INFO, logger="repro.data"):
        load_parts(tiny.expected, directory)
    assert f"reading cifar10 from {directory / 'cifar10'}" in caplog.text
