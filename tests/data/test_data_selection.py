"""Subsets and validation splits, and that loading leaves global generators alone."""

import random

import numpy as np
import pytest
import torch

from repro.data import DataError, load_dataset
from repro.data.selection import hold_out, take
from repro.data.types import Arrays


@pytest.fixture
def arrays() -> Arrays:
    """Images that say which they are: 300, 200 and 100 of three classes."""
    images = np.zeros((600, 32, 32, 3), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(600), 256)
    return Arrays(images, np.repeat([0, 1, 2], [300, 200, 100]))


def numbers(arrays: Arrays) -> list[int]:
    return (arrays.images[:, 0, 0, 0].astype(int) * 256 + arrays.images[:, 0, 0, 1]).tolist()


@pytest.mark.parametrize(("images", "sizes"), [(30, [10, 10, 10]), (31, [11, 10, 10]), (500, [200, 200, 100])])
def test_subset_is_balanced_and_in_order(arrays, images, sizes):
    part = take(arrays, images)
    assert np.bincount(part.labels).tolist() == sizes
    assert numbers(part) == sorted(numbers(part))
    assert (part.labels == arrays.labels[numbers(part)]).all()


def test_subsets_are_nested_and_no_mere_prefix(arrays):
    small, large = numbers(take(arrays, 30)), numbers(take(arrays, 60))
    assert set(small) < set(large)
    assert small[:10] != list(range(10)), "the first by content are all dark"


@pytest.mark.parametrize("images", [None, 600, 9999])
def test_subset_of_all_is_all(arrays, images):
    assert numbers(take(arrays, images)) == list(range(600))


def test_validation_is_disjoint_stratified_and_in_order(arrays):
    rest, held = hold_out(arrays, 0.1, seed=0)
    assert np.bincount(held.labels).tolist() == [30, 20, 10]
    assert sorted(numbers(rest) + numbers(held)) == list(range(600))
    for part in (rest, held):
        assert numbers(part) == sorted(numbers(part))
        assert (part.labels == arrays.labels[numbers(part)]).all()


def test_validation_follows_the_seed_alone(arrays):
    first, again, other = (numbers(hold_out(arrays, 0.1, seed)[1]) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("fraction", [0.0001, 0.9999])
def test_validation_leaves_no_side_empty(arrays, fraction):
    with pytest.raises(DataError, match="validation_fraction"):
        hold_out(arrays, fraction, seed=0)


def test_subset_comes_before_validation_and_ignores_the_seed():
    whole = load_dataset("digits10", train_images=200, test_images=50)
    pieces = []
    for seed in (0, 1):
        data = load_dataset("digits10", train_images=200, test_images=50, validation_fraction=0.2, seed=seed)
        assert data.validation is not None
        assert (len(data.train.labels), len(data.validation.labels)) == (160, 40)
        assert data.validation.labels.bincount().tolist() == [4] * 10
        assert torch.equal(data.test.images, whole.test.images)
        together = torch.cat([data.train.images, data.validation.images])
        pieces.append({image.numpy().tobytes() for image in together})
        assert (data.fingerprint, data.mean) == (whole.fingerprint, whole.mean)
    assert pieces[0] == pieces[1] == {image.numpy().tobytes() for image in whole.train.images}


@pytest.mark.parametrize("options", [{"train_images": 0}, {"test_images": -1}, {"validation_fraction": 1.0}])
def test_senseless_numbers_are_refused(options):
    with pytest.raises(DataError, match=next(iter(options))):
        load_dataset("digits10", **options)


def test_global_generators_are_left_alone():
    before = torch.get_rng_state(), np.random.get_state()[1:3], random.getstate()  # noqa: NPY002
    load_dataset("digits100", train_images=500, validation_fraction=0.1, seed=3)
    after = torch.get_rng_state(), np.random.get_state()[1:3], random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1][0], after[1][0])
    assert before[1][1] == after[1][1]
    assert before[2] == after[2]
