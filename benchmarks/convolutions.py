"""The paper's wide convolutions one by one: torch's own, Winograd's in chunks that fit the cache, and the whole batch.

``python -m benchmarks.convolutions``: milliseconds of the forward and of the backward pass, medians, one thread.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from unittest.mock import patch

import torch
from tabulate import tabulate
from torch import Tensor
from torch.nn.functional import conv2d

from repro.kernels import library, products

BATCH = 128
SHAPES = ((64, 64, 32), (64, 128, 16), (128, 128, 16), (128, 256, 8), (256, 256, 8))  # channels in and out, side
VARIANTS = ("torch", "chunks", "whole batch")


def main() -> None:
    """Measure and print a table for each arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    if library() is None:
        raise SystemExit("the kernels cannot be built here: nothing to compare")
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.bfloat16):
        rows = [(f"{i} to {o}, {side}x{side}", *measure(i, o, side, dtype, rounds)) for i, o, side in SHAPES]
        print(tabulate(rows, (str(dtype).removeprefix("torch."), *VARIANTS)), "\n")


def measure(inputs: int, outputs: int, side: int, dtype: torch.dtype, rounds: int) -> list[str]:
    """Milliseconds "forward + backward" of each variant."""
    images, weight, bias, gradient = tensors(inputs, outputs, side, dtype)
    cells = []
    for variant in VARIANTS:

        def forward(own: bool = variant == "torch") -> Tensor:
            return conv2d(images, weight, bias, padding=1) if own else products._winograd(images, weight, bias)

        with patch.object(products, "CHUNK", products.CHUNK * (BATCH if variant == "whole batch" else 1)):
            output = forward()
            backward = partial(torch.autograd.grad, output, (images, weight), gradient, retain_graph=True)
            back = milliseconds(backward, rounds)
            with torch.no_grad():
                cells.append(f"{milliseconds(forward, rounds):.1f} + {back:.1f}")
    return cells


def tensors(inputs: int, outputs: int, side: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, weight, bias and the output's gradient, all random, channels_last."""

    def random(*shape: int) -> Tensor:
        values = torch.randn(shape).to(dtype)
        return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values

    images = random(BATCH, inputs, side, side).requires_grad_()
    weight = random(outputs, inputs, 3, 3).requires_grad_()
    return images, weight, random(outputs), random(BATCH, outputs, side, side)


def milliseconds(call: Callable[[], object], rounds: int) -> float:
    """Median of some calls, after one that is not counted."""
    call()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds)


if __name__ == "__main__":
    main()
