"""How fast this machine trains, from a few timed steps on made-up images."""

import itertools
import time

import torch

from repro.config import Spec
from repro.config.registry import DATASETS, RGB_32
from repro.data import ImageData, Split
from repro.data.types import Shape
from repro.train.device import choose_device, set_arithmetic
from repro.train.evaluation import BATCH
from repro.train.trainer import Trainer

WARM_UP_STEPS = 2
TIMED_STEPS = 6
TIMED_EVALUATIONS = 2


def probe_rates(spec: Spec, threads: int, device_name: str = "auto") -> dict[str, float]:
    """Seconds an image of training and of evaluation, with the run's own model and arithmetic.

    The fastest of the timed steps counts, and of the evaluations: other work on the machine only ever slows one down.

    Args:
        spec: The run's resolved experiment; only its data are replaced.
        threads: Threads of a CPU run.
        device_name: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        ``train`` and ``evaluate``, seconds an image.
    """
    device = choose_device(device_name)
    set_arithmetic(device, threads, spec["precision"])
    steps = WARM_UP_STEPS + TIMED_STEPS
    known = DATASETS[spec["dataset"]["name"]]
    data = made_up(spec["batch_size"] * (steps + 1), known.classes, known.image_shape)
    trainer = Trainer(spec, 0, data, device)
    stamps: list[float] = []
    for _ in zip(range(steps), trainer.steps(), strict=False):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        stamps.append(time.perf_counter())
    evaluations = [time.perf_counter()]
    for _ in range(TIMED_EVALUATIONS):
        trainer.evaluate(trainer.data.test)
        evaluations.append(time.perf_counter())
    train, evaluate = _shortest(stamps[WARM_UP_STEPS - 1 :]), _shortest(evaluations)
    return {"train": train / spec["batch_size"], "evaluate": evaluate / len(data.test.labels)}


def _shortest(stamps: list[float]) -> float:
    """The least time between two stamps."""
    return min(after - before for before, after in itertools.pairwise(stamps))


def made_up(images: int, classes: int, image_shape: Shape = RGB_32) -> ImageData:
    """Random images, by default in CIFAR's shape: for times, never for accuracies."""
    channels, height, width = image_shape
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        pixels = torch.randint(0, 256, (count, height, width, channels), generator=generator, dtype=torch.uint8)
        return Split(pixels, torch.arange(count) % classes)

    return ImageData(
        name="made up",
        classes=classes,
        train=split(images),
        test=split(max(BATCH.values())),
        validation=None,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        flip=True,
        crop_padding=4,
        fingerprint="",
    )
