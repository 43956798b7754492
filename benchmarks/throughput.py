"""Images a second of the training core beside a plain loop, in one run.

    python benchmarks/throughput.py [--rounds 5] [--steps 12] [--threads 2] [--json FILE]

On real CIFAR-10 (REPRO_DATA_DIR), with data and augmentation in every figure. Variants take turns, a block of
steps each, and the ratio is the median over rounds of the ratio within a round, so that a machine whose speed
drifts hurts all alike. The plain loop is what one would write first: image objects, torchvision's transforms, a
DataLoader with 2 workers, NCHW, AdamW neither fused nor foreach, the same model, quantiser and clips.
"""

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from repro.config import Plan, load_config
from repro.data import ImageData, load_dataset
from repro.models import MODELS
from repro.quant import attach_quantizers, quant_layers
from repro.records.environment import describe_environment
from repro.train import Interrupted, Trainer
from repro.train.build import split_options
from repro.train.device import set_arithmetic

WARM_UP_STEPS = 3
Block = Callable[[int], float]  # runs so many steps, gives images a second


class ImageObjects(Dataset[tuple[torch.Tensor, int]]):
    """CIFAR as PIL images with torchvision's per-image transforms."""

    def __init__(self, data: ImageData) -> None:
        """Keep the training images as PIL objects."""
        self.images = [Image.fromarray(image) for image in data.train.images.numpy()]
        self.labels = data.train.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=data.crop_padding),
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


def plain_loop(data: ImageData, spec: dict[str, object]) -> Block:
    """The loop one would write first."""
    name, options = split_options(spec["model"])  # type: ignore[arg-type]
    model = MODELS[name](data.classes, **options)
    name, options = split_options(spec["quantizer"])  # type: ignore[arg-type]
    attach_quantizers(model, name, **options)
    weights = [layer.weight for layer in quant_layers(model).values()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=5e-4, foreach=False, fused=False)
    loader = DataLoader(ImageObjects(data), batch_size=128, shuffle=True, num_workers=2, persistent_workers=True)

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from loader

    stream = batches()
    model.train()

    def block(steps: int) -> float:
        images_seen, start = 0, time.perf_counter()
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
            images_seen += len(labels)
        return images_seen / (time.perf_counter() - start)

    return block


def core(data: ImageData, spec: dict[str, object]) -> Block:
    """The suite's own trainer."""
    trainer = Trainer(spec, 0, data, torch.device("cpu"))

    def block(steps: int) -> float:
        if trainer.steps_done + steps >= len(trainer.batches):
            trainer.steps_done = 0
        until = trainer.steps_done + steps
        start = time.perf_counter()
        with contextlib.suppress(Interrupted):
            trainer.train_epoch(lambda step, _: step >= until)
        return steps * int(spec["batch_size"]) / (time.perf_counter() - start)  # type: ignore[call-overload, no-any-return]

    return block


def measure(blocks: dict[str, Block], rounds: int, steps: int) -> dict[str, list[float]]:
    """Images/s of each variant in each round; the order alternates."""
    rates: dict[str, list[float]] = {name: [] for name in blocks}
    for block in blocks.values():
        block(WARM_UP_STEPS)
    for index in range(rounds):
        order = list(blocks) if index % 2 == 0 else list(blocks)[::-1]
        for name in order:
            rates[name].append(blocks[name](steps))
    return rates


def main() -> None:
    """Measure, print a table and, if asked, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="steps a block")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    data = load_dataset("cifar10")
    plan = Plan(load_config(Path(__file__).parent.parent / "config.yaml"), "paper")
    quantized, fp32 = dict(plan.run("main_cifar10", 0).spec), dict(plan.run("fp32_cifar10", 0).spec)
    bf16 = {**quantized, "precision": "bf16"}
    # The allocator's setting holds for the whole process, so the plain loop gains from it too.
    set_arithmetic(torch.device("cpu"), arguments.threads, "fp32")
    blocks = {
        "plain loop": plain_loop(data, quantized),
        "core FP32, 4-bit": core(data, quantized),
        "core FP32, no quantiser": core(data, fp32),
        "core bf16, 4-bit": core(data, bf16),
    }
    rates = measure(blocks, arguments.rounds, arguments.steps)
    median = {name: statistics.median(values) for name, values in rates.items()}

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(rates[above], rates[below], strict=True))

    ratios = {
        "FP32 over plain loop": ratio("core FP32, 4-bit", "plain loop"),
        "bf16 over plain loop": ratio("core bf16, 4-bit", "plain loop"),
        "cost of quantising (FP32 step)": ratio("core FP32, no quantiser", "core FP32, 4-bit"),
    }
    facts = describe_environment()
    print(f"CIFAR-10, batch 128, {arguments.threads} threads, torch {torch.__version__}, {facts['processor']}")
    for name, rate in median.items():
        spread = f"{min(rates[name]):.0f}-{max(rates[name]):.0f}"
        print(f"{name:26} {rate:7.1f} images/s  (median of {arguments.rounds}, {spread})")
    for name, value in ratios.items():
        print(f"{name:32} {value:6.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"images_per_second": rates, "ratios": ratios, **facts}, indent=1))


if __name__ == "__main__":
    main()
