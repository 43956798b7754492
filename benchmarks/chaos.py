"""Kill the workflow at seeded moments, type the same command again, and compare all it made with an undisturbed one.

    python -m benchmarks.chaos [--kills 100] [--seed 0] [--groups main,fp32,ptq] [--folder DIR]

Scale smoke. A kill goes to a trainer, to snakemake or to its whole process group, by SIGKILL, SIGTERM, SIGINT or
SIGHUP. Nothing is done by hand in between: the next start is the plain command, at once, whatever still lives. A folder
whose workflow has come to its end is compared and begun anew, until there were as many kills as asked for.
Exits with status 1 if anything differs, is left over, or would have needed a hand.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml
from tabulate import tabulate

from benchmarks.outcome import differences, leftovers

PROJECT = Path(__file__).parent.parent
TARGETS = ("trainer", "snakemake", "process group")
SIGNALS = ("SIGKILL", "SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
SHORTEST, MEAN = 0.05, 6.0  # seconds between two kills
LAST_SECONDS = 900  # for what nobody disturbs


def make_folder(folder: Path, groups: set[str]) -> Path:
    """The workflow's own files; of the experiments, those of some groups run by default, or all."""
    folder.mkdir(parents=True)
    for name in ("Snakefile", "profiles"):
        (folder / name).symlink_to(PROJECT / name)
    config = yaml.safe_load((PROJECT / "config.yaml").read_text())
    for experiment in config["experiments"].values():
        if groups and experiment["group"] not in groups:
            experiment["by_default"] = False
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


class Workflow:
    """The plain command in one folder, as often as it is started."""

    def __init__(self, folder: Path, cores: int) -> None:
        """Not started yet."""
        self.folder, self._cores = folder, cores
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """Type it, unless it is under way."""
        if self.ended is None and self._process is not None:
            return
        snakemake = Path(sys.executable).parent / "snakemake"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "REPRO"))}
        path = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
        self.starts += 1
        with (self.folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [snakemake, "--cores", str(self._cores), "--config", "scale=smoke"],
                cwd=self.folder,
                env={**kept, "PYTHONPATH": path, "REPRO_DATA_DIR": str(self.folder / "no-data")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def ended(self) -> int | None:
        """Its exit status; ``None`` while it works."""
        return None if self._process is None else self._process.poll()

    def finish(self) -> int:
        """Let it come to its end; its exit status."""
        assert self._process is not None
        return self._process.wait(LAST_SECONDS)

    def kill(self, target: str, number: int, chance: random.Random) -> bool:
        """Send a signal; false where there is nobody to hear it."""
        assert self._process is not None
        try:
            if target == "snakemake":
                os.kill(self._process.pid, number)
            elif target == "process group":
                os.killpg(self._process.pid, number)
            else:
                os.kill(chance.choice(self.trainers()), number)
        except (IndexError, ProcessLookupError):
            return False
        return True

    def trainers(self) -> list[int]:
        """Processes of this folder that train, the forks and those that stand for them."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").resolve() == self.folder.resolve() and b"repro" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return sorted(pid for pid in found if self._process is None or pid != self._process.pid)

    @property
    def output(self) -> str:
        """All that it printed so far."""
        return (self.folder / "output.txt").read_text(errors="replace")


def undisturbed(folder: Path, arguments: argparse.Namespace) -> None:
    """What all others are compared with."""
    whole = Workflow(make_folder(folder, arguments.groups), arguments.cores)
    whole.start()
    if whole.finish():
        raise SystemExit(f"the undisturbed workflow failed:\n{whole.output[-4000:]}")


def disturb(folder: Path, whole: Path, arguments: argparse.Namespace) -> tuple[Counter[str], list[str]]:
    """Kill until there were enough, comparing each folder that came to its end.

    Args:
        folder: Where to work.
        whole: A folder in which nothing was disturbed.
        arguments: The command's.

    Returns:
        Kills by target and signal, and a line for everything that is wrong.
    """
    chance = random.Random(arguments.seed)
    kills: Counter[str] = Counter()
    wrong: list[str] = []
    for round_number in range(arguments.kills + 1):
        workflow = Workflow(
            make_folder(folder / f"seed{arguments.seed}-round{round_number}", arguments.groups), arguments.cores
        )
        while kills.total() < arguments.kills:
            workflow.start()
            wait = time.monotonic() + SHORTEST + chance.expovariate(1 / MEAN)
            target, name = chance.choice(TARGETS), chance.choice(SIGNALS)
            while workflow.ended is None and time.monotonic() < wait:
                time.sleep(0.02)
            if workflow.ended == 0:
                break
            if workflow.ended is None and workflow.kill(target, getattr(signal, name), chance):
                kills[f"{target}, {name}"] += 1
                print(f"{kills.total():4d} {name} to the {target}", flush=True)
        wrong += _compare(workflow, whole)
        if kills.total() >= arguments.kills:
            return kills, wrong
    return kills, wrong


def _compare(workflow: Workflow, whole: Path) -> list[str]:
    """What is wrong with a folder that was disturbed: the plain command once more brings it to its end."""
    if workflow.starts:
        workflow.finish()
    workflow.start()
    status = workflow.finish()
    wrong = []
    if status:
        wrong.append(f"the plain command ended with status {status}: {workflow.output[-2000:]}")
    if "cannot be locked" in workflow.output:
        wrong.append("Snakemake asked for --unlock")
    wrong += differences(whole, workflow.folder) + leftovers(whole, workflow.folder)
    print(f"     {workflow.folder.name}: {workflow.starts} starts, {len(wrong)} differences", flush=True)
    return [f"{workflow.folder.name}: {line}" for line in wrong]


def main() -> int:
    """Kill, compare, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--groups", type=lambda text: set(text.split(",")), default=set(), help="some of config.yaml's")
    parser.add_argument(
        "--folder", type=Path, help="to work in, with the undisturbed one of an earlier call (default: a temporary one)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        if not (folder / "whole").exists():
            undisturbed(folder / "whole", arguments)
        kills, wrong = disturb(folder, folder / "whole", arguments)
    print(tabulate(sorted(kills.items()), headers=("to whom, by what", "kills")))
    print("\n".join([*wrong, f"{kills.total()} kills: {len(wrong)} differences, leftovers or steps by hand"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
