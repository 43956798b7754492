"""What a running training says: a bar with ETA on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol, TextIO

from repro.text import duration

LINE_EVERY_SECONDS = 60.0


class Progress(Protocol):
    """Hears about every step and every epoch of one run."""

    def start(self, label: str, epochs: int, epochs_done: int, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        """The run begins, or goes on after ``epochs_done`` epochs, whose rows of ``epochs.csv`` are ``rows``."""

    def step(self, step: int, steps: int) -> None:
        """``step`` of ``steps`` in this epoch is done."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is done; ``row`` is its row of ``epochs.csv``."""

    def close(self) -> None:
        """The run ends."""


class LineProgress:
    """Plain lines: one an epoch, and within long epochs one a minute."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to ``stream`` (default: standard error)."""
        self._stream = stream or sys.stderr
        self._label = ""
        self._epochs = self._done = 0
        self._epoch_start = self._last_line = time.monotonic()

    def start(self, label: str, epochs: int, epochs_done: int, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        """Say what begins, and from where."""
        self._label, self._epochs, self._done = label, epochs, epochs_done
        self._epoch_start = self._last_line = time.monotonic()
        self._print(f"{epochs} epochs" + (f", resumed after {epochs_done}" if epochs_done else ""))

    def step(self, step: int, steps: int) -> None:
        """A line a minute."""
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = now
            left = (now - self._epoch_start) / step * (steps - step)
            self._print(f"epoch {self._done + 1}/{self._epochs}, step {step}/{steps}, {duration(left)} left in it")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """The epoch's figures and the run's ETA."""
        self._done = row["epoch"]
        self._epoch_start = self._last_line = time.monotonic()
        self._print(describe_epoch(row, self._epochs))

    def close(self) -> None:
        """Nothing to tidy up."""

    def _print(self, text: str) -> None:
        print(f"{self._label}: {text}", file=self._stream, flush=True)


class BarProgress:
    """A bar a run with its ETA, and the epochs' figures above all bars (needs rich)."""

    def __init__(self) -> None:
        """Draw on standard error, on the display that all runs of this process share."""
        self.display = _shared_display()
        self._task: Any = None
        self._label, self._epochs, self._done = "", 0, 0

    def start(self, label: str, epochs: int, epochs_done: int, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        """Show the bar, after a resume with what the last epoch gave."""
        self._label, self._epochs, self._done = label, epochs, epochs_done
        self._task = self.display.add_task(label, total=None, figures=_figures(rows[-1]) if rows else "")
        self.display.start()

    def step(self, step: int, steps: int) -> None:
        """Move the bar; its total is the whole run, so that the ETA is the run's."""
        completed, total = self._done * steps + step, self._epochs * steps
        if self.display.tasks[self.display.task_ids.index(self._task)].total is None:
            self.display.reset(self._task, total=total, completed=completed)  # else a resume counts as speed
        description = f"{self._label}, epoch {self._done + 1}/{self._epochs}"
        self.display.update(self._task, description=description, completed=completed)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print the epoch's figures above the bars."""
        self._done = row["epoch"]
        self.display.update(self._task, figures=_figures(row))
        line = f"{self._label}: {describe_epoch(row, self._epochs)}"
        self.display.console.print(line, highlight=False)

    def close(self) -> None:
        """Take the bar away; with the last one the terminal is left as it was."""
        if [task.id for task in self.display.tasks] == [self._task]:
            self.display.stop()  # the last bar stays to be read
        self.display.remove_task(self._task)


@cache
def _shared_display() -> Any:
    """One display a process: two would write over each other's lines."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"), BarColumn(20), TextColumn("step"), MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"), TimeElapsedColumn(), TextColumn("gone,"), TimeRemainingColumn(),
        TextColumn("left"),
    )  # fmt: skip
    return RichProgress(*columns, console=Console(stderr=True))


def _figures(row: Mapping[str, Any]) -> str:
    """What stands beside the bar of the last epoch."""
    return f"loss {float(row['train_loss']):.4f}, test accuracy {float(row['test_accuracy']):.2%},"


def make_progress() -> Progress:
    """A bar on a terminal that can show one, lines elsewhere and where rich is not installed."""
    if sys.stderr.isatty():
        try:
            return BarProgress()
        except ImportError:
            pass
    return LineProgress()


def describe_epoch(row: Mapping[str, Any], epochs: int) -> str:
    """One line on an epoch: accuracies, rate, speed, time left."""
    left = (epochs - row["epoch"]) * row["wall_seconds"]
    return (
        f"epoch {row['epoch']}/{epochs}: train {row['train_accuracy']:.2%} (loss {row['train_loss']:.4f}), "
        f"test {row['test_accuracy']:.2%} (loss {row['test_loss']:.4f}), lr {row['learning_rate']:.2e}, "
        f"{row['images_per_second']:.0f} images/s, {duration(left)} left"
    )
