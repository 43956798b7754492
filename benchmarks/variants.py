"""What is timed: a plain loop, the core, and the machine's ceiling, each as a block of training steps."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.clock import now
from repro.config import Spec
from repro.data import ImageData
from repro.quant import quant_layers
from repro.train import Trainer
from repro.train.build import build_model
from repro.train.device import autocast

Block = Callable[[int], float]  # runs so many steps, gives seconds


class ImageObjects(Dataset[tuple[torch.Tensor, int]]):
    """CIFAR as PIL images with torchvision's per-image transforms."""

    def __init__(self, data: ImageData) -> None:
        """Keep the training images as PIL objects."""
        self.images = [Image.fromarray(image) for image in data.train.images.numpy()]
        self.labels = data.train.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(data.image_shape[1:], padding=data.crop_padding),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        """Number of training images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """One augmented image and its label."""
        return self.transform(self.images[index]), self.labels[index]


def plain_loop(data: ImageData, spec: Spec) -> Block:
    """The loop one would write first: image objects, 2 loader workers, NCHW, AdamW neither fused nor foreach."""
    model = build_model(spec, data.classes)
    weights = [layer.weight for layer in quant_layers(model).values()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=5e-4, foreach=False, fused=False)
    loader = DataLoader(ImageObjects(data), spec["batch_size"], shuffle=True, num_workers=2, persistent_workers=True)

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from loader

    stream = batches()
    model.train()

    def block(steps: int) -> float:
        start = now()
        for _ in range(steps):
            images, labels = next(stream)
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5, foreach=False)
            optimizer.step()
            with torch.no_grad():
                for weight in weights:
                    weight.copy_(3 * torch.tanh(weight / 3))
        return now() - start

    return block


def core(trainer: Trainer) -> Block:
    """The suite's own trainer, on full batches of one epoch."""
    trainer.start_epoch()
    full = len(trainer.data.train.labels) // trainer.spec["batch_size"]

    def block(steps: int) -> float:
        start = now(trainer.device)
        for _ in range(steps):
            trainer.steps_done %= full  # the epoch's images over again, without its short batch
            trainer.train_step()
        return now(trainer.device) - start

    return block


def ceiling(data: ImageData, spec: Spec, device: torch.device) -> Callable[[], None]:
    """The model's own convolutions and matrix products, forward and backward, at their own shapes, and nothing else.

    The first layer needs no gradient of its input. Weighted by FLOPs, as the model weights them.
    """
    dtype = torch.bfloat16 if spec["precision"] == "bf16" else torch.float32
    model = build_model({**spec, "quantizer": {"name": "none"}}, data.classes)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    products: list[Callable[[], None]] = []

    def keep(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        values, gradient = inputs[0].detach().to(dtype), output.detach().to(dtype)
        products.append(_product(layer, values, gradient, bool(products), spec["precision"]))

    handles = [layer.register_forward_hook(keep) for layer in quant_layers(model).values()]
    images = torch.randn(spec["batch_size"], 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    model(images)
    for handle in handles:
        handle.remove()
    model.to(dtype)

    def step() -> None:
        for product in products:
            product()

    return step


def repeat(step: Callable[[], None], device: torch.device) -> Block:
    """A block of so many calls."""

    def block(steps: int) -> float:
        start = now(device)
        for _ in range(steps):
            step()
        return now(device) - start

    return block


def _product(
    layer: Any, inputs: torch.Tensor, gradient: torch.Tensor, inner: bool, precision: str
) -> Callable[[], None]:
    leaves = [inputs.requires_grad_()] * inner + [layer.weight, layer.bias]

    def product() -> None:
        with autocast(inputs.device, precision):
            output = layer.forward(inputs)
        torch.autograd.grad(output, leaves, gradient)  # not under autocast, as the trainer's

    return product
