"""How long the workflow around the training takes: imports, a dry run of the whole paper, a report, a run's start.

    REPRO_DATA_DIR=DIR python -m benchmarks.workflow [--json FILE]

Each line is the median of several fresh processes; the report is of made-up records of three scales, all experiments.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tabulate import tabulate

from benchmarks.clock import now

PROJECT = Path(__file__).parent.parent
RECORDS = """
import sys
from pathlib import Path
from repro.config import load_config
from tests.report.report_factory import RecordFactory
factory = RecordFactory(load_config("config.yaml"), Path(sys.argv[1]))
for scale in ("paper", "short", "quick"):
    factory.write_all(scale)
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


def seconds(arguments: list[str], rounds: int) -> float:
    """Median wall seconds of a command in the project's folder."""
    times = []
    for _ in range(rounds):
        start = now()
        done = subprocess.run(arguments, cwd=PROJECT, capture_output=True, text=True)
        times.append(now() - start)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return median(times)


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
        subprocess.run([python, "-c", RECORDS, str(records)], cwd=PROJECT, check=True)
        count = len(list(records.glob("**/record.json")))
        times[f"report from {count} records"] = seconds(
            [python, "-m", "repro", "report", "--results", str(records), "--output", page], rounds
        )
        if os.environ.get("REPRO_DATA_DIR"):
            run = [python, "-c", START, str(Path(folder, "runs"))]
            times["a run's start, to its first step"] = seconds(run, rounds)
    print(tabulate(list(times.items()), ("", f"seconds, median of {rounds}"), floatfmt=".2f"))
    if arguments.json:
        arguments.json.write_text(json.dumps(times, indent=1) + "\n")


if __name__ == "__main__":
    main()
