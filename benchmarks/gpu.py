"""Speed of the training core on one GPU, in one run of some five minutes; its table comes last.

    REPRO_DATA_DIR=DIR python -m benchmarks.gpu [--json FILE]

On real CIFAR-10 where it is found, else on random images of its size (and says so): images/s of the captured step and
of the called one, in each precision, quantised or not, compiled or not, beside the ceiling; several runs in turns; what
an epoch costs besides its steps; and from these, projected, the paper's main run and all of its experiments. Any device
runs the same lines: ``--device cpu --width 0.06 --steps 2`` takes seconds and measures nothing.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.clock import now
from benchmarks.variants import Block, ceiling, core, repeat
from repro.config import Plan, Spec, load_config
from repro.data import DataError, load_dataset
from repro.train import Trainer
from repro.train.checkpoint import Checkpoint, CheckpointWriter
from repro.train.device import choose_device, device_name, own_stream, set_arithmetic, set_matmul_precision
from repro.train.graph import CudaCapture
from repro.train.measure import layer_rows
from repro.train.probe import made_up

CONFIG = load_config(Path(__file__).parent.parent / "config.yaml")
WARM_UP, ROUNDS = 6, 5
AT_ONCE = (1, 2, 4, 8)
# label -> experiment, precision, captured, compiled
VARIANTS = {
    "fp32, captured": ("main_cifar10", "fp32", True, False),
    "tf32, captured": ("main_cifar10", "tf32", True, False),
    "bf16, captured": ("main_cifar10", "bf16", True, False),
    "bf16, captured, no quantiser": ("fp32_cifar10", "bf16", True, False),
    "bf16, called": ("main_cifar10", "bf16", False, False),
    "bf16, captured, compiled": ("main_cifar10", "bf16", True, True),
}


class Bench:
    """The device, the data and the size of what is timed."""

    def __init__(self, device: torch.device, width: float, steps: int) -> None:
        """Time blocks of ``steps`` steps of the model at ``width``."""
        self.device, self.width, self.steps = device, width, steps
        try:
            self.data, self.source = load_dataset("cifar10"), "real CIFAR-10"
        except DataError:
            self.data, self.source = made_up(50_000, 10), "random images, since CIFAR-10 was not found"
        self.data = self.data.to(device)

    def precisions(self, *names: str) -> list[str]:
        """Those that the device has."""
        return [name for name in names if name != "tf32" or self.device.type == "cuda"]

    def spec(self, experiment: str, precision: str) -> Spec:
        """The paper's experiment at this width in an arithmetic."""
        spec = Plan(CONFIG, "paper").run(experiment, 0).spec
        return {**spec, "precision": precision, "model": {**spec["model"], "width": self.width}}

    def trainer(self, experiment: str, precision: str, captured: bool = True, compiled: bool = False) -> Trainer:
        """A trainer; its step is captured unless it is observed."""
        observer = None if captured else lambda part, made: None
        trainer = Trainer(self.spec(experiment, precision), 0, self.data, self.device, observer=observer)
        if compiled:
            trainer.model.compile(dynamic=False)
        return trainer

    def rate(self, block: Block) -> float:
        """Images/s: the median over rounds."""
        block(WARM_UP)
        return median(self.steps * 128 / block(self.steps) for _ in range(ROUNDS))


def variants(bench: Bench) -> dict[str, float]:
    """Images/s of a training step by itself."""
    rates = {}
    for label, (experiment, precision, captured, compiled) in VARIANTS.items():
        if precision in bench.precisions(precision):
            with own_stream(bench.device):
                rates[label] = bench.rate(core(bench.trainer(experiment, precision, captured, compiled)))
            print(f"{label}: {rates[label]:.0f} images/s", flush=True)
    return rates


def ceilings(bench: Bench) -> dict[str, float]:
    """Images/s of the model's own convolutions and matrix products, captured like the step."""
    rates = {}
    for precision in bench.precisions("fp32", "tf32", "bf16"):
        with own_stream(bench.device):
            set_matmul_precision(bench.device, precision)
            step = ceiling(bench.data, bench.spec("main_cifar10", precision), bench.device)
            rates[precision] = bench.rate(repeat(_captured(step, bench.device), bench.device))
    return rates


def _captured(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    if device.type != "cuda":
        return step
    for _ in range(WARM_UP):
        step()
    return CudaCapture(device, torch.Generator(device))(step).replay


def at_once(bench: Bench, precision: str) -> dict[int, float]:
    """Images/s of all runs together, by their number."""
    rates = {}
    for count in AT_ONCE:
        pairs = [(bench.trainer("main_cifar10", precision), own_stream(bench.device)) for _ in range(count)]

        def block(steps: int, pairs: list[Any] = pairs) -> float:
            start = now(bench.device)
            for _ in range(steps):
                for trainer, stream in pairs:
                    with stream:
                        trainer.train_step()
            return now(bench.device) - start

        for trainer, _ in pairs:
            trainer.start_epoch()
        block(WARM_UP)
        for trainer, _ in pairs:
            trainer.steps_done = 0
        rates[count] = count * bench.steps * 128 / block(bench.steps)
        print(f"{count} at once, {precision}: {rates[count]:.0f} images/s", flush=True)
    return rates


def between_epochs(bench: Bench) -> dict[str, float]:
    """Seconds of what an epoch costs besides its steps."""
    trainer, times = bench.trainer("main_cifar10", "bf16"), {}
    trainer.start_epoch()
    for _ in range(WARM_UP):
        trainer.train_step()

    def clock(name: str, call: Callable[[], object]) -> None:
        seconds = []
        for _ in range(ROUNDS):
            start = now(bench.device)
            call()
            seconds.append(now(bench.device) - start)
        times[name] = median(seconds)

    with own_stream(bench.device), tempfile.TemporaryDirectory() as folder:
        writer = CheckpointWriter(Path(folder))
        checkpoint = Checkpoint(setting={}, started_at="", trainer=trainer.state())
        clock("start of the epoch", trainer.start_epoch)
        clock("evaluation", lambda: trainer.evaluate(trainer.data.test))
        clock("layer figures", lambda: layer_rows(trainer.model, trainer.weight_clip.moved, 1))
        clock("checkpoint, copied (written meanwhile)", lambda: writer.save(checkpoint))
        writer.close()
    return times


def projected(rates: dict[str, float], together: dict[int, float], between: dict[str, float]) -> dict[str, float]:
    """Seconds of the paper's main run, and of all its experiments with 3 seeds, each run once."""
    runs = list(Plan(CONFIG, "paper"))
    epochs = sum(run.epochs_to_train for run in runs)
    overhead = sum(between.values())
    best = max(together, key=lambda count: together[count])
    return {
        "epochs of all runs": epochs,
        "main run, 150 epochs (s)": 150 * (50_000 / rates["bf16, captured"] + overhead),
        f"all runs, {best} at once (s)": epochs * (50_000 / together[best] + overhead / best),
    }


def main() -> None:
    """Measure, print tables and, if asked, write a JSON."""
    from tabulate import tabulate

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=200, help="steps a block")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    set_arithmetic(device, 1, "fp32")
    bench = Bench(device, arguments.width, arguments.steps)
    rates, tops = variants(bench), ceilings(bench)
    together, between = at_once(bench, "bf16"), between_epochs(bench)
    totals = projected(rates, together, between)
    shares = {label: rate / tops[VARIANTS[label][1]] for label, rate in rates.items()}
    print(f"\n{bench.source}, width {bench.width}, batch 128, torch {torch.__version__}, {device_name(device)}\n")
    rows: list[tuple[str, float, str]] = [(label, rate, f"{shares[label]:.0%}") for label, rate in rates.items()]
    rows += [(f"ceiling, {precision}", rate, "") for precision, rate in tops.items()]
    rows += [(f"bf16, {count} runs at once, together", rate, "") for count, rate in together.items()]
    print(tabulate(rows, ("step", "images/s", "of its ceiling"), floatfmt=".0f"))
    print("\n" + tabulate(list(between.items()), ("between epochs", "seconds"), floatfmt=".4f"))
    print("\n" + tabulate(list(totals.items()), ("projected", ""), floatfmt=".0f"))
    if arguments.json:
        everything = {"images_per_second": rates, "ceiling": tops, "at_once": together, "between_epochs": between}
        facts = {"device": device_name(device), "torch": torch.__version__, "data": bench.source}
        arguments.json.write_text(json.dumps({**everything, "projected": totals, **facts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
