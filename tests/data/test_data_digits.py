"""The digits data sets: no source digit on both sides, right labels, the same bytes everywhere."""

import numpy as np
import pytest
import torch

from repro.data import ImageData, digits, load_dataset
from repro.data.types import Integers

FINGERPRINTS = {
    "digits10": "63c2d9d2c13185bc",
    "digits100": "ca8a20e304fb28b0",
}
SIZES = {"digits10": (1438, 359), "digits100": (6000, 1500)}


@pytest.fixture(scope="module", params=sorted(SIZES))
def data(request: pytest.FixtureRequest) -> ImageData:
    return load_dataset(request.param)


@pytest.fixture(scope="module")
def labels() -> Integers:
    return digits._sources()[1]


def test_shapes_types_and_statistics(data):
    for split, size in zip((data.train, data.test), SIZES[data.name], strict=True):
        assert split.images.shape == (size, 32, 32, 3)
        assert split.images.dtype == torch.uint8
        assert split.labels.shape == (size,)
        assert split.labels.dtype == torch.int64
    assert data.validation is None
    pixels = data.train.images.double() / 255
    assert pixels.mean((0, 1, 2)).tolist() == pytest.approx(data.mean, abs=1e-4)
    assert pixels.flatten(0, 2).std(0).tolist() == pytest.approx(data.std, abs=1e-4)
    assert (data.flip, data.crop_padding) == (False, 2)


def test_bytes_are_the_known_ones(data):
    assert data.fingerprint.startswith(FINGERPRINTS[data.name]), "records made before hold numbers on other images"


def test_order_is_canonical(data):
    for split in (data.train, data.test):
        keys = [(int(label), image.numpy().tobytes()) for image, label in zip(split.images, split.labels, strict=True)]
        assert keys == sorted(keys)


def test_classes_are_balanced():
    data = load_dataset("digits100")
    assert data.train.labels.bincount().tolist() == [60] * 100
    assert data.test.labels.bincount().tolist() == [15] * 100


def test_sources_are_divided_once_and_by_digit(labels):
    train, test = digits.split_sources(labels)
    assert sorted([*train, *test]) == list(range(len(labels)))
    sizes = np.bincount(labels)
    assert np.abs(np.bincount(labels[test]) - sizes / 5).max() <= 0.5


def test_pairs_draw_on_their_pool_and_class_alone(labels):
    for pool, key, per_class in zip(digits.split_sources(labels), ("train", "test"), (60, 15), strict=True):
        pairs = digits.pair_sources(labels, pool, per_class, key)
        assert pairs.shape == (100 * per_class, 2)
        assert np.isin(pairs, pool).all()
        assert (10 * labels[pairs[:, 0]] + labels[pairs[:, 1]] == np.arange(100).repeat(per_class)).all()
        assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_pixels_of_train_and_test_share_no_digit():
    single, pairs = load_dataset("digits10"), load_dataset("digits100")

    def rows(images: torch.Tensor) -> set[bytes]:
        return {image.numpy().tobytes() for image in images}

    def halves(images: torch.Tensor) -> set[bytes]:
        return rows(images[:, :, :16]) | rows(images[:, :, 16:])

    assert not rows(single.train.images) & rows(single.test.images)
    assert not halves(pairs.train.images) & halves(pairs.test.images)
    assert len(halves(pairs.test.images)) > 300, "nearly every test digit is used"


def test_left_and_right_are_where_the_label_says():
    halves = np.arange(10, dtype=np.uint8)[:, None, None].repeat(32, 1).repeat(16, 2)
    pairs = np.array([[3, 7], [9, 0]])
    images, made = digits._draw_pairs(halves, np.arange(10), pairs)
    assert made.tolist() == [37, 90]
    assert images[0, :, :16].min() == images[0, :, :16].max() == 3
    assert images[0, :, 16:].min() == images[0, :, 16:].max() == 7


def nearest(train: torch.Tensor, train_labels: torch.Tensor, test: torch.Tensor) -> torch.Tensor:
    distances = torch.cdist(test[..., 0].flatten(1).float(), train[..., 0].flatten(1).float())
    return train_labels[distances.argmin(1)]


def test_labels_are_those_of_the_images():
    single, pairs = load_dataset("digits10"), load_dataset("digits100")
    guess = nearest(single.train.images, single.train.labels, single.test.images)
    assert (guess == single.test.labels).float().mean() > 0.95
    for half, truth in ((slice(0, 16), pairs.test.labels // 10), (slice(16, 32), pairs.test.labels % 10)):
        # A single digit, made as narrow as a half, tells what the half shows.
        narrow = single.train.images.float().unflatten(2, (16, 2)).mean(3)
        guess = nearest(narrow, single.train.labels, pairs.test.images[:, :, half])
        assert (guess == truth).float().mean() > 0.95


@pytest.mark.parametrize("size", [(32, 32), (32, 16)])
def test_enlarging_is_bilinear(size):
    sources = digits._sources()[0][:20]
    other = torch.nn.functional.interpolate(torch.from_numpy(sources)[:, None], size, mode="bilinear")[:, 0]
    difference = digits._stretch(sources, *size) - (other * 255 / 16).numpy()
    assert np.abs(difference).max() <= 0.5 + 1e-9
