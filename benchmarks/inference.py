"""Milliseconds a forward pass of the paper's model: PyTorch; onnxruntime with weights of all types and in integers.

    python benchmarks/inference.py [--rounds 5] [--threads 1 2] [--json FILE]

Random weights, since time does not depend on them; `python -m repro export NAME --onnx` measures a trained run the
same way, with the accuracy of its files. Variants take turns within a round, and each figure is the median over rounds.
"""

import argparse
import json
import statistics
from pathlib import Path

import onnxruntime
import torch
from tabulate import tabulate

from repro.config import Plan, load_config
from repro.export.integer import build_integer
from repro.export.latency import ROUNDS, measure_latency
from repro.records.environment import describe_environment
from repro.train.build import build_model

CLASSES, CALIBRATION_IMAGES = 10, 64


def main() -> None:
    """Measure, print a table and, if asked, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    spec = Plan(load_config(Path(__file__).parent.parent / "config.yaml"), "paper").run("main_cifar10", 0).spec
    torch.manual_seed(0)
    model = build_model(spec, CLASSES).to(memory_format=torch.channels_last).eval()
    record = {"spec": spec, "data": {"classes": CLASSES}}
    integer = build_integer(model, record, torch.randn(CALIBRATION_IMAGES, 3, 32, 32))
    measured = [measure_latency(model, record, threads, integer, arguments.rounds) for threads in arguments.threads]
    facts = describe_environment()
    print(f"{facts['processor']}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}; ms a call, median")
    rows = [
        (name, latency["threads"], batch, *(f"{1e3 * pick(rounds):.2f}" for pick in (statistics.median, min, max)))
        for latency in measured
        for name, batches in latency["seconds"].items()
        for batch, rounds in batches.items()
    ]
    print(tabulate(rows, headers=("variant", "threads", "batch", "ms", "least", "most"), disable_numparse=True))
    if arguments.json:
        arguments.json.write_text(json.dumps({"latency": measured, **facts}, indent=1))


if __name__ == "__main__":
    main()
