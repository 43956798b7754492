"""Batched augmentation and normalisation of uint8 images, on whatever device they lie."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AugmentationDraw:
    """One epoch's random choices for n samples, in the order in which they are trained on.

    Attributes:
        order: int64 [n], index of each sample.
        top: int64 [n], vertical crop offset into the padded image, 0..2 * padding.
        left: int64 [n], horizontal crop offset.
        flip: bool [n], mirror left and right.
    """

    order: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor

    def copy_(self, other: "AugmentationDraw") -> None:
        """Take over another epoch's choices, in place."""
        for own, new in zip(vars(self).values(), vars(other).values(), strict=True):
            own.copy_(new)


def draw_augmentation(samples: int, padding: int, flip: bool, seed: int, device: torch.device) -> AugmentationDraw:
    """Draw a whole epoch at once on the CPU, so that every device sees the same samples.

    Args:
        samples: Number of training images n.
        padding: Crop padding in pixels.
        flip: Whether the data set may be mirrored (digits may not).
        seed: Seed of this epoch.
        device: Where the draw is wanted.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(samples, generator=generator)
    offsets = torch.randint(0, 2 * padding + 1, (2, samples), generator=generator)
    mirrored = torch.rand(samples, generator=generator) < (0.5 if flip else 0.0)
    return AugmentationDraw(order.to(device), offsets[0].to(device), offsets[1].to(device), mirrored.to(device))


def crop_and_flip(images: Tensor, top: Tensor, left: Tensor, flip: Tensor, padding: int) -> Tensor:
    """Random crop out of the zero-padded image, then an optional mirror, in one gather.

    Args:
        images: uint8 [B, H, W, C].
        top: int64 [B].
        left: int64 [B].
        flip: bool [B].
        padding: Black pixels on each side, as torchvision's RandomCrop pads before normalisation.

    Returns:
        uint8 [B, H, W, C].
    """
    batch, height, width = images.shape[:3]
    padded = torch.nn.functional.pad(images, (0, 0, padding, padding, padding, padding))
    down, across = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    rows = top[:, None] + down
    columns = left[:, None] + torch.where(flip[:, None], across.flip(0), across)
    sample = torch.arange(batch, device=images.device)[:, None, None]
    return padded[sample, rows[:, :, None], columns[:, None, :]]


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 [B, H, W, C] to float32 [B, C, H, W] in channels_last memory, (x / 255 - mean) / std."""
    pixels = images.permute(0, 3, 1, 2).to(torch.float32)
    return pixels.mul_((1 / (255 * std))[:, None, None]).sub_((mean / std)[:, None, None])
