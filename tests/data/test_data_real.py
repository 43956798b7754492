"""The real CIFAR-10, where ``REPRO_DATA_DIR`` holds its class folders."""

import os
from pathlib import Path

import pytest

from repro.data import load_dataset
from repro.data.cifar import load_parts
from repro.data.expected import load_expected
from repro.data.types import fingerprint


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A data directory of the test's own that shows the real class folders."""
    folder = Path(os.environ.get("REPRO_DATA_DIR", "nowhere")) / "cifar10"
    if not folder.is_dir():
        pytest.skip("needs the real CIFAR-10 as class folders in REPRO_DATA_DIR")
    (tmp_path / "cifar10").symlink_to(folder.resolve())
    return tmp_path


def test_sources_of_the_real_images_agree(linked, tmp_path, no_md5, batch_writer, monkeypatch):
    expected = load_expected("cifar10")
    parts = load_parts(expected, linked)  # class folders
    batch_writer(tmp_path / "batches", parts, expected.classes)
    again = load_parts(expected, tmp_path / "batches")  # torchvision's files
    assert fingerprint(parts) == fingerprint(again) == expected.fingerprint

    monkeypatch.setattr("repro.data.cifar._first_usable", lambda *_: pytest.fail("the cache is all that is read"))
    data = load_dataset("cifar10", data_dir=linked)
    assert data.fingerprint == expected.fingerprint
    means = [round(channel.double().mean().item() / 255, 4) for channel in data.train.images.unbind(-1)]
    assert means == list(data.mean)
    assert data.train.labels.bincount().tolist() == [5000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
