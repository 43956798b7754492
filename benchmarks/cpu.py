"""Speed of the training core on a CPU, in one run.

    REPRO_DATA_DIR=DIR python -m benchmarks.cpu [--json FILE]

On real CIFAR-10 (REPRO_DATA_DIR). The plain loop, the core with its kernels and with torch's (REPRO_KERNELS=torch), and
the machine's ceiling take turns, a block of steps each; a ratio is the median over rounds of the ratio within a round,
so that a machine whose speed drifts hurts all alike. The plain loop and each kind of kernels have a process of their
own. Then where an epoch's time goes, and one run with all threads beside two at once with half of them.
"""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.parts import OVERHEAD, epoch_parts
from benchmarks.variants import ceiling, core, plain_loop, repeat
from benchmarks.workers import Worker
from repro.config import Plan, Spec, load_config
from repro.data import load_dataset
from repro.kernels import library
from repro.kernels.library import SWITCH
from repro.records.environment import describe_environment
from repro.train import Trainer
from repro.train.device import set_arithmetic

BATCH = 128
CPU = torch.device("cpu")
PLAIN = "plain loop, FP32, 4-bit"
CORE = {
    "core, FP32, 4-bit": ("main_cifar10", "fp32"),
    "core, FP32, no quantiser": ("fp32_cifar10", "fp32"),
    "core, bf16, 4-bit": ("main_cifar10", "bf16"),
    "core, bf16, no quantiser": ("fp32_cifar10", "bf16"),
}
TORCH = {
    "torch's kernels, FP32, 4-bit": ("main_cifar10", "fp32"),
    "torch's kernels, bf16, 4-bit": ("main_cifar10", "bf16"),
}
CEILING = {"ceiling, FP32": "fp32", "ceiling, bf16": "bf16"}
RATIOS = {
    "FP32 over plain loop": ("core, FP32, 4-bit", PLAIN),
    "bf16 over plain loop": ("core, bf16, 4-bit", PLAIN),
    "FP32 over torch's kernels": ("core, FP32, 4-bit", "torch's kernels, FP32, 4-bit"),
    "bf16 over torch's kernels": ("core, bf16, 4-bit", "torch's kernels, bf16, 4-bit"),
    "FP32, share of its ceiling": ("core, FP32, 4-bit", "ceiling, FP32"),
    "bf16, share of its ceiling": ("core, bf16, 4-bit", "ceiling, bf16"),
    "FP32 step, quantised over not (time)": ("core, FP32, no quantiser", "core, FP32, 4-bit"),
    "bf16 step, quantised over not (time)": ("core, bf16, no quantiser", "core, bf16, 4-bit"),
}


def spec_of(experiment: str, precision: str) -> Spec:
    """The paper's experiment in an arithmetic."""
    plan = Plan(load_config(Path(__file__).parent.parent / "config.yaml"), "paper")
    return {**plan.run(experiment, 0).spec, "precision": precision}


def plain_calls(threads: int) -> Mapping[str, Callable[..., Any]]:
    """What the plain loop's process can be told to do."""
    torch.set_num_threads(threads)
    return {PLAIN: plain_loop(load_dataset("cifar10"), spec_of("main_cifar10", "fp32"))}


def core_calls(threads: int) -> dict[str, Callable[..., Any]]:
    """What the core's process can be told to do."""
    if library() is None:
        raise SystemExit("the fused kernels cannot be built here: nothing to compare")
    calls = _trainers(threads, CORE)
    data = load_dataset("cifar10")
    for name, precision in CEILING.items():
        calls[name] = repeat(ceiling(data, spec_of("main_cifar10", precision), CPU), CPU)
    calls["parts"] = lambda precision, steps: epoch_parts(spec_of("main_cifar10", precision), data, steps, rounds=5)
    return calls


def torch_calls(threads: int) -> dict[str, Callable[..., Any]]:
    """The same without kernels of ours."""
    os.environ[SWITCH] = "torch"
    return _trainers(threads, TORCH)


def _trainers(threads: int, variants: Mapping[str, tuple[str, str]]) -> dict[str, Callable[..., Any]]:
    set_arithmetic(CPU, threads, "fp32")
    data = load_dataset("cifar10")
    return {name: core(Trainer(spec_of(*what), 0, data, CPU)) for name, what in variants.items()}


def take_turns(workers: Mapping[str, Worker], rounds: int, steps: int) -> dict[str, list[float]]:
    """Images/s of each variant in each round; the order alternates."""
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for name, worker in workers.items():
        worker.call(name, 4)
    for index in range(rounds):
        for name in list(workers) if index % 2 == 0 else list(workers)[::-1]:
            rates[name].append(steps * BATCH / workers[name].call(name, steps))
    return rates


def side_by_side(
    whole: Worker, pairs: Mapping[str, Sequence[Worker]], rounds: int, steps: int
) -> dict[str, dict[str, list[float]]]:
    """Images/s of one run with all threads, and the sum of two at once with half of them each."""
    rates: dict[str, dict[str, list[float]]] = {name: {"two": []} for name in pairs}
    for name, pair in pairs.items():
        for worker in pair:
            worker.call(name, 2)
    for _ in range(rounds):
        for name, pair in pairs.items():
            if name in CORE:
                rates[name].setdefault("one", []).append(steps * BATCH / whole.call(name, steps))
            for worker in pair:
                worker.start(name, steps)
            rates[name]["two"].append(sum(steps * BATCH / worker.result() for worker in pair))
    return rates


def main() -> None:
    """Measure, print tables and, if asked, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3, help="steps a block: short ones, so that drift hurts all alike")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    plain, whole = Worker(plain_calls, arguments.threads), Worker(core_calls, arguments.threads)
    eager = Worker(torch_calls, arguments.threads)
    turns = {PLAIN: plain} | dict.fromkeys([*CORE, *CEILING], whole) | dict.fromkeys(TORCH, eager)
    rates = take_turns(turns, arguments.rounds, arguments.steps)
    plain.close()
    eager.close()
    parts = {precision: whole.call("parts", precision, 20) for precision in ("fp32", "bf16")}
    halves, eager_halves = (
        [Worker(calls, max(1, arguments.threads // 2)) for _ in range(2)] for calls in (core_calls, torch_calls)
    )
    pairs = dict.fromkeys(list(CORE)[::2], halves) | dict.fromkeys(TORCH, eager_halves)
    beside = side_by_side(whole, pairs, min(5, arguments.rounds), 3 * arguments.steps)
    for worker in (whole, *halves, *eager_halves):
        worker.close()

    ratios = {name: _ratio(rates[above], rates[below]) for name, (above, below) in RATIOS.items()}
    for core_name, torch_name in zip(list(CORE)[::2], TORCH, strict=True):
        name = f"two at once: {core_name} over torch's kernels"
        ratios[name] = _ratio(beside[core_name]["two"], beside[torch_name]["two"])
    facts = describe_environment()
    print(f"CIFAR-10, batch {BATCH}, {arguments.threads} threads, torch {torch.__version__}, {facts['processor']}\n")
    print(tabulate([(n, median(r), min(r), max(r)) for n, r in rates.items()], ("images/s", "median", "least", "most")))
    print("\n" + tabulate(list(ratios.items()), ("ratio", "median of rounds"), floatfmt=".3f"))
    for precision, seconds in parts.items():
        print("\n" + _parts_table(precision, seconds))
    rows = [(name, median(r["one"]) if "one" in r else None, median(r["two"])) for name, r in beside.items()]
    print("\n" + tabulate(rows, ("images/s", "one run, all threads", "two runs, half each"), floatfmt=".1f"))
    if arguments.json:
        everything = {"images_per_second": rates, "ratios": ratios, "epoch_seconds": parts, "side_by_side": beside}
        arguments.json.write_text(json.dumps({**everything, **facts}, indent=1) + "\n")


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


def _parts_table(precision: str, seconds: Mapping[str, float]) -> str:
    total = sum(seconds.values())
    rows = [(part, value, 100 * value / total) for part, value in seconds.items()]
    overhead = sum(seconds[part] for part in OVERHEAD)
    rows.append((f"all but forward, backward, evaluation ({precision})", overhead, 100 * overhead / total))
    return str(tabulate(rows, (f"an epoch in {precision}, 4-bit", "seconds", "%"), floatfmt=".2f"))


if __name__ == "__main__":
    main()
