"""How long the workflow around the training takes: imports, a dry run of the whole paper, a report, a run's start.

    REPRO_DATA_DIR=DIR python -m benchmarks.workflow [--json FILE]

Each line is the median of several fresh processes; the reports are of made-up records of three scales: the
experiments of the default job, and all.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tabulate import tabulate

from benchmarks.clock import now
from repro.forking import WORKFLOW

PROJECT = Path(__file__).parent.parent
RECORDS = """
import sys
from pathlib import Path
from repro.config import load_config
from tests.report.report_factory import RecordFactory
factory = RecordFactory(load_config("config.yaml"), Path(sys.argv[1]))
for scale in ("paper", "short", "quick"):
    factory.write_all(scale, by_default=sys.argv[2:] == ["default"])
"""
START = """
import sys
from pathlib import Path
from repro.config import Plan, load_config
from repro.train import Settings
from repro.train.run import training
from repro.train.trainer import Trainer
def no_step(self): self.steps_done += 1
Trainer.train_step = no_step  # up to the first step, not through it
next(training(Plan(load_config("config.yaml"), "short").run("main_cifar10", 0), Settings(results=Path(sys.argv[1]))))
"""


def seconds(arguments: list[str], rounds: int, cwd: Path = PROJECT, **environment: str) -> float:
    """Median wall seconds of a command in a folder, by default the project's."""
    return both_seconds(arguments, rounds, cwd, **environment)[0]


def both_seconds(arguments: list[str], rounds: int, cwd: Path = PROJECT, **environment: str) -> tuple[float, float]:
    """Median wall seconds of a command, and of its processors, which an otherwise busy machine changes less."""
    times, processor = [], []
    for _ in range(rounds):
        start, before = now(), os.times()
        done = subprocess.run(arguments, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True)
        times.append(now() - start)
        after = os.times()
        processor.append(after.children_user + after.children_system - before.children_user - before.children_system)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return median(times), median(processor)


def smoke_runs(folder: Path, rounds: int) -> dict[str, float]:
    """A whole run of a second at scale smoke: in a process of its own, and as a fork; the first starts the server."""
    (folder / ".snakemake").mkdir(parents=True)
    shutil.copy(PROJECT / "config.yaml", folder)
    run = [sys.executable, "-m", "repro", "train", "main_cifar10", "--scale", "smoke", "--no-track"]
    path = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    times = {}
    for name, count, workflow in (("by itself", rounds, ""), ("the first fork", 1, "own"), ("a fork", rounds, "own")):
        environment = {"PYTHONPATH": path, WORKFLOW: str(os.getpid()) if workflow else ""}
        taken = []
        for _ in range(count):
            taken.append(seconds(run, 1, folder, **environment))
            shutil.rmtree(folder / "results")
        times[f"a whole run at scale smoke, {name}"] = median(taken)
    return times


def main() -> None:
    """Measure, print a table and, if asked, write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    python, rounds = sys.executable, arguments.rounds
    empty = seconds([python, "-c", ""], rounds)
    snakemake = str(Path(python).with_name("snakemake"))
    config = seconds([python, "-c", "import repro.config"], rounds) - empty
    times = {"import repro.config, without Python's own start": config}
    times["snakemake -n of the whole paper"] = seconds([snakemake, "-n", "-q", "--config", "scale=paper"], rounds)
    with tempfile.TemporaryDirectory() as folder:
        records, page = Path(folder, "results"), str(Path(folder, "report"))
        for what in ("default", "all"):
            records, page = Path(folder, what), str(Path(folder, "report"))
            subprocess.run([python, "-c", RECORDS, str(records), what], cwd=PROJECT, check=True)
            count = len(list(records.glob("**/record.json")))
            report = [python, "-m", "repro", "report", "--results", str(records), "--output", page]
            name = f"report from {count} records of the {what} experiments"
            times[name], times[f"{name}, of both processors"] = both_seconds(report, rounds)
        if os.environ.get("REPRO_DATA_DIR"):
            run = [python, "-c", START, str(Path(folder, "runs"))]
            times["a run's start, to its first step"] = seconds(run, rounds)
        times |= smoke_runs(Path(folder, "smoke"), rounds)
    print(tabulate(list(times.items()), ("", f"seconds, median of {rounds}"), floatfmt=".2f"))
    if arguments.json:
        arguments.json.write_text(json.dumps(times, indent=1) + "\n")


if __name__ == "__main__":
    main()
