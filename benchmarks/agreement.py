"""How far the core's losses lie from a plain loop's over 50 steps, from the same weights, batches and dropout masks.

    REPRO_DATA_DIR=DIR python -m benchmarks.agreement [--steps 50] [--width 1.0] [--json FILE]

The plain loop is that of the tests: NCHW, functional layers, W + (Q(W) - W).detach(), plain AdamW. In FP32 and in
float64, with the paper's 4-bit quantiser and without. Beside it, as the yardstick, the plain loop against itself in
another memory format: the same formulas in the same precision, summed in another order.
"""

import argparse
import json
from collections import deque
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.cpu import CPU, spec_of
from repro.config import Spec
from repro.data import ImageData, load_dataset
from repro.train import Trainer
from repro.train.device import set_arithmetic
from repro.train.seeds import derive_seed
from tests.train.plain_loop import PlainLoop

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def core_losses(spec: Spec, data: ImageData, dtype: torch.dtype, steps: int) -> tuple[list[float], Any, Batches]:
    """The core's loss of each step, the weights it started from, and its batches."""
    batches: Batches = []
    losses: list[float] = []

    def keep(part: str, made: Mapping[str, torch.Tensor]) -> None:
        if part == "batch":
            batches.append((made["images"].to(dtype), made["labels"]))
        elif part == "backward":
            losses.append(made["loss"].item())

    trainer = Trainer(spec, 0, data, CPU, observer=keep)
    trainer.model.to(dtype)
    trainer.model.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype),))
    start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    deque(islice(trainer.steps(), steps), maxlen=0)
    return losses, start, batches


def plain_losses(start: Any, batches: Batches, quantized: bool, memory_format: torch.memory_format) -> list[float]:
    """The plain loop's, from the same weights, batches and dropout masks."""
    plain = PlainLoop(start, quantized, memory_format)
    torch.manual_seed(derive_seed(0, "dropout", 1))
    return [
        plain.step(images.contiguous(memory_format=memory_format), labels, 1e-3, clip=True, soft=True)
        for images, labels in batches
    ]


def main() -> None:
    """Measure, print a table and, if asked, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    set_arithmetic(CPU, arguments.threads, "fp32")
    data, rows = load_dataset("cifar10"), []
    for dtype in (torch.float32, torch.float64):
        for experiment, quantized in (("main_cifar10", True), ("fp32_cifar10", False)):
            spec = spec_of(experiment, "fp32")
            spec["model"] = {**spec["model"], "width": arguments.width}
            core, start, batches = core_losses(spec, data, dtype, arguments.steps)
            plain = plain_losses(start, batches, quantized, torch.contiguous_format)
            again = plain_losses(start, batches, quantized, torch.channels_last)
            name = f"{str(dtype).removeprefix('torch.')}, {'4-bit' if quantized else 'no quantiser'}"
            rows.append((name, _largest(core, plain), _largest(again, plain), core[-1]))
            print(rows[-1], flush=True)
    columns = ("", "core - plain loop", "plain loop - itself, channels_last", "last loss")
    print(tabulate(rows, columns, floatfmt=".1e"))
    if arguments.json:
        arguments.json.write_text(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1) + "\n")


def _largest(first: list[float], second: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


if __name__ == "__main__":
    main()
