"""Loss and accuracy of a split, from whatever gives logits: the trainer's model, a file's, another runtime."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from repro.data import ImageData, Split
from repro.data.augment import normalize

BATCH = {"cpu": 500, "cuda": 2500}  # images; on a GPU fewer and larger kernels

Logits = Callable[[Tensor], Tensor]  # normalised images, channels last, to [N, K]


def batch_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross entropy without label smoothing, never in bfloat16."""
    return cross_entropy(logits.float() if logits.dtype == torch.bfloat16 else logits, labels, reduction=reduction)


def batch_logits(logits: Logits, data: ImageData, split: Split) -> Iterator[Tensor]:
    """Logits of a split of ``data``, batch by batch."""
    device = split.images.device
    mean, std = torch.tensor(data.mean, device=device), torch.tensor(data.std, device=device)
    for images in torch.split(split.images, BATCH[device.type]):
        yield logits(normalize(images, mean, std))


def score(batches: Iterable[Tensor], labels: Tensor) -> tuple[float, float]:
    """Mean loss in nats and accuracy as a fraction, summed batch by batch on the device of ``labels``."""
    loss, correct = torch.zeros((), device=labels.device), torch.zeros((), device=labels.device)
    for logits, expected in zip(batches, torch.split(labels, BATCH[labels.device.type]), strict=True):
        loss += batch_loss(logits, expected, reduction="sum")
        correct += (logits.argmax(1) == expected).sum()
    return loss.item() / len(labels), correct.item() / len(labels)
