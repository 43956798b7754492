"""One epoch of each published model on real CIFAR-10, in FP32 and with three quantisers: what it reaches, how fast.

``python -m benchmarks.models`` trains whole epochs; ``--train-images`` and ``--test-images`` take class-balanced slices
where the time is short, and every row says how many images it had.
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any

import torch
from tabulate import tabulate

from repro.config import Spec, complete_spec
from repro.data import load_dataset
from repro.train.device import set_arithmetic
from repro.train.trainer import Trainer

MODELS = ("resnet20", "vgg_small")
QUANTIZERS: Mapping[str, Mapping[str, Any]] = {
    "FP32": {"quantizer": {"name": "none"}},
    "absmax, 4 bits": {"quantizer": {"name": "absmax", "bit_width": 4}},
    "DoReFa W4A32": {"quantizer": {"name": "dorefa", "bit_width": 4}, "quantized_layers": "inner"},
    "LSQ W4A4": {
        "quantizer": {"name": "lsq", "bit_width": 4},
        "activation_quantizer": {"name": "lsq", "bit_width": 4},
        "quantized_layers": "inner",
    },
}
# VGG-small's linear layer has 8,192 inputs, none negative and of squared norm 6,800 in the mean: at 0.02, without a
# warm-up, its logits grow from 5 to 900 in ten steps and what lies before it collapses; at 0.002 they stay below 15.
LEARNING_RATES = {"resnet20": 0.1, "vgg_small": 0.002}
CPU = torch.device("cpu")


def make_spec(model: str, method: Mapping[str, Any], precision: str) -> Spec:
    """An epoch of plain SGD, as the published protocols begin."""
    return complete_spec(
        {
            "dataset": {"name": "cifar10"},
            "model": {"name": model},
            **method,
            "optimizer": {
                "name": "sgd", "learning_rate": LEARNING_RATES[model], "momentum": 0.9, "weight_decay": 1e-4,
            },
            "gradient_clip": None,
            "weight_clip": {"name": "none"},
            "schedule": {"name": "constant"},
            "epochs": 1,
            "batch_size": 128,
            "precision": precision,
        }
    )  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="One epoch of each model with each of four methods.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--methods", nargs="+", choices=QUANTIZERS, default=list(QUANTIZERS), metavar="METHOD")
    parser.add_argument("--train-images", type=int, help="at most so many (default: all)")
    parser.add_argument("--test-images", type=int, help="at most so many (default: all)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    set_arithmetic(CPU, arguments.threads, arguments.precision)
    data = load_dataset("cifar10", train_images=arguments.train_images, test_images=arguments.test_images)
    rows = []
    for model in arguments.models:
        for name in arguments.methods:
            trainer = Trainer(make_spec(model, QUANTIZERS[name], arguments.precision), 0, data, CPU)
            start = time.perf_counter()
            figures = trainer.train_epoch()
            rate = len(data.train.labels) / (time.perf_counter() - start)
            _, accuracy = trainer.evaluate(trainer.data.test)
            rows.append(
                (model, name, f"{100 * figures['train_accuracy']:.2f} %", f"{100 * accuracy:.2f} %", f"{rate:.0f}")
            )
            print(*rows[-1], sep=" | ", flush=True)
    images = f"{len(data.train.labels):,} training and {len(data.test.labels):,} test images, {arguments.precision}"
    print(f"\none epoch, {images}, {arguments.threads} thread{'s' if arguments.threads > 1 else ''}")
    print(tabulate(rows, headers=("model", "method", "train accuracy", "test accuracy", "images/s")))


if __name__ == "__main__":
    main()
