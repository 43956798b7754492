"""One run, or several in turns in one process: a small model leaves most of a large GPU idle."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from repro.config import Run
from repro.errors import ReproError
from repro.records import Record
from repro.train.device import choose_device, own_stream
from repro.train.run import Interrupted, training
from repro.train.settings import Settings


def train_run(run: Run, settings: Settings) -> Record:
    """Train one run to its end; see ``training`` for arguments, result and errors."""
    ((_, result),) = train_together([run], lambda _: settings, at_once=1)
    if isinstance(result, Record):
        return result
    raise result


def train_together(
    runs: Sequence[Run], settings: Callable[[Run], Settings], at_once: int
) -> Iterator[tuple[Run, Record | ReproError | Interrupted]]:
    """Train runs in turns, a step of each; every one has the bits that it would have alone.

    On a GPU each run has a stream of its own, so that the kernels of one fill the gaps of the others.

    Args:
        runs: What to train, in this order.
        settings: Settings of each run.
        at_once: Runs under way at any time; memory grows with it.

    Yields:
        Each run with its record when it ends, or with the error that ended it; the others go on.
    """
    waiting = list(reversed(runs))
    active: list[_Turns] = []
    while waiting or active:
        while waiting and len(active) < at_once:
            run = waiting.pop()
            active.append(_Turns(run, settings(run)))
        for turns in list(active):
            result = turns.step()
            if result is not None:
                active.remove(turns)
                yield turns.run, result
                if isinstance(result, Interrupted):
                    waiting.clear()


class _Turns:
    """A run under way."""

    def __init__(self, run: Run, settings: Settings) -> None:
        self.run, self._settings = run, settings
        self._steps = training(run, settings)
        self._stream: AbstractContextManager[Any] | None = None

    def step(self) -> Record | ReproError | Interrupted | None:
        """Take one step; the result when the run has ended."""
        try:
            if self._stream is None:
                self._stream = own_stream(choose_device(self._settings.device))
            with self._stream:
                next(self._steps)
        except StopIteration as ended:
            record: Record = ended.value
            return record
        except (ReproError, Interrupted) as error:
            return error
        return None
