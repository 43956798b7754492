"""Batched augmentation against torchvision's, image by image."""

import pytest
import torch
from torchvision.transforms import functional as tv

from repro.data.augment import crop_and_flip, draw_augmentation, normalize

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("padding", [0, 2, 4])
def test_equals_torchvisions_pad_crop_and_flip(padding: int) -> None:
    batch = images(64)
    draw = draw_augmentation(64, padding, flip=True, seed=3, device=torch.device("cpu"))
    ours = crop_and_flip(batch, draw.top, draw.left, draw.flip, padding)
    for index in range(64):
        image = batch[index].permute(2, 0, 1)
        image = tv.crop(tv.pad(image, [padding] * 4), int(draw.top[index]), int(draw.left[index]), 32, 32)
        image = tv.hflip(image) if draw.flip[index] else image
        assert torch.equal(ours[index].permute(2, 0, 1), image)


def test_the_draw_covers_every_offset_and_flips_half() -> None:
    draw = draw_augmentation(20_000, 4, flip=True, seed=0, device=torch.device("cpu"))
    assert draw.order.sort().values.tolist() == list(range(20_000))
    for offsets in (draw.top, draw.left):
        counts = torch.bincount(offsets, minlength=9)
        assert len(counts) == 9
        assert (counts - 20_000 / 9).abs().max() < 250
    assert 0.48 < draw.flip.float().mean() < 0.52
    assert not draw_augmentation(100, 2, flip=False, seed=0, device=torch.device("cpu")).flip.any()


def test_the_draw_is_a_function_of_its_seed() -> None:
    draws = [draw_augmentation(500, 4, True, seed, torch.device("cpu")) for seed in (1, 1, 2)]
    assert torch.equal(draws[0].order, draws[1].order)
    assert torch.equal(draws[0].top, draws[1].top)
    assert not torch.equal(draws[0].order, draws[2].order)


def test_normalize_is_torchvisions_in_channels_last() -> None:
    batch = images(8)
    ours = normalize(batch, torch.tensor(MEAN), torch.tensor(STD))
    theirs = tv.normalize(batch.permute(0, 3, 1, 2).float() / 255, MEAN, STD)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert ours.is_contiguous(memory_format=torch.channels_last)
