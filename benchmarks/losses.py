"""Losses of the first steps on this machine, and how far two machines' losses lie apart.

    python benchmarks/losses.py run --json FILE [--steps 10] [--batch 128] [--threads 1] [--weights FILE] [--no-onednn]
    python benchmarks/losses.py compare FILE OTHER

`run` trains the first steps of table V's run (scale `paper`, FP32, seed 0) on real CIFAR-10 (REPRO_DATA_DIR) through
the suite's own trainer. Seeds fix weights, batches, augmentation and dropout, so that another processor computes the
same sums in another order: losses agree to FP32's rounding at first and then drift apart, as rounding is amplified.
Two runs on one machine with different numbers of threads, or torch's oneDNN off, show how fast that goes without any
change of architecture. `run` needs only torch, NumPy, PyYAML and filelock.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import time
from pathlib import Path
from typing import Any

import torch

from repro.config import Plan, Spec, load_config
from repro.data import load_dataset
from repro.records.environment import describe_environment
from repro.train import Trainer
from repro.train.device import set_arithmetic

EXPERIMENT, SCALE = "mobile_cifar10", "paper"
Report = dict[str, Any]


def first_losses(steps: int, batch: int, threads: int, weights: Path | None = None) -> Report:
    """Train the first steps.

    Args:
        steps: Steps of the first epoch.
        batch: Images a step; the run's own number is 128.
        threads: Threads of torch.
        weights: File of the initial weights: loaded where it exists, written where it does not.

    Returns:
        ``losses`` (nats, one a step), ``seconds`` a step, a digest of the initial weights, and what it ran on.
    """
    plan = Plan(load_config(Path(__file__).parent.parent / "config.yaml"), SCALE)
    spec: Spec = {**plan.run(EXPERIMENT, 0).spec, "batch_size": batch}
    set_arithmetic(torch.device("cpu"), threads, "fp32")
    trainer = Trainer(spec, 0, load_dataset("cifar10"), torch.device("cpu"))
    if weights is not None and weights.exists():
        trainer.model.load_state_dict(torch.load(weights, weights_only=True))
    elif weights is not None:
        torch.save(trainer.model.state_dict(), weights)
    start = digest(trainer.model)
    sums, times = [0.0], [time.perf_counter()]
    for step in itertools.islice(trainer.steps(), steps):
        sums.append(trainer.state()["sums"]["loss"].item())
        times.append(time.perf_counter())
        print(f"step {step}: {(sums[-1] - sums[-2]) / batch:.7f}", flush=True)
    return {
        "losses": [(after - before) / batch for before, after in itertools.pairwise(sums)],
        "seconds": [after - before for before, after in itertools.pairwise(times)],
        "batch": batch,
        "threads": threads,
        "initial_weights": start,
        "torch": torch.__version__,
        **describe_environment(),
    }


def digest(model: torch.nn.Module) -> str:
    """First 12 hexadecimal digits of the SHA-256 of all parameters and statistics."""
    hashed = hashlib.sha256()
    for value in model.state_dict().values():
        hashed.update(value.contiguous().numpy().tobytes())
    return hashed.hexdigest()[:12]


def compare(first: Report, second: Report) -> str:
    """Both machines' losses, step by step, with their difference, absolute and relative."""
    lines = [
        f"{name}: {report['architecture']} · {report['processor']}, torch {report['torch']}, "
        f"{report['threads']} threads, batch {report['batch']}, initial weights {report['initial_weights']}"
        for name, report in (("first", first), ("second", second))
    ]
    lines.append("step         first        second    difference      relative")
    for step, (a, b) in enumerate(zip(first["losses"], second["losses"], strict=False), 1):
        lines.append(f"{step:4}  {a:12.7f}  {b:12.7f}  {b - a:12.2e}  {abs(b - a) / abs(a):12.2e}")
    return "\n".join(lines)


def main() -> None:
    """Run and write a JSON, or compare two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    run = commands.add_parser("run")
    run.add_argument("--json", type=Path, required=True)
    run.add_argument("--steps", type=int, default=10)
    run.add_argument("--batch", type=int, default=128)
    run.add_argument("--threads", type=int, default=1)
    run.add_argument("--weights", type=Path, help="initial weights: loaded where the file exists, else written to it")
    run.add_argument("--no-onednn", action="store_true", help="convolutions by torch's own code, for another rounding")
    comparison = commands.add_parser("compare")
    comparison.add_argument("files", type=Path, nargs=2)
    arguments = parser.parse_args()
    if arguments.command == "compare":
        print(compare(*(json.loads(path.read_text()) for path in arguments.files)))
        return
    other = torch.backends.mkldnn.flags(enabled=False) if arguments.no_onednn else contextlib.nullcontext()
    with other:
        found = first_losses(arguments.steps, arguments.batch, arguments.threads, arguments.weights)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
