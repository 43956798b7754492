"""A stated end to every wait for MLflow, whatever its server does.

Time limits of requests are not enough: each byte that a server drips starts them anew. So the work is done in a thread
of its own, which is left behind when its time is over.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from repro.tracking.database import TrackingError

TOTAL_SECONDS = 300.0  # of one sync in all, the wait for other processes included
SILENCE_SECONDS = 60.0  # without a record done, once it is this process's turn

Result = TypeVar("Result")
_POLL_SECONDS = 0.5


class Pulse:
    """How the work says that it gets on; after the end of its time the saying fails, so that the thread ends."""

    def __init__(self) -> None:
        """Nothing heard yet."""
        self.last: float | None = None
        self.abandoned = False

    def __call__(self) -> None:
        """Something was done.

        Raises:
            TrackingError: If nobody waits any more.
        """
        if self.abandoned:
            raise TrackingError("given up")
        self.last = time.monotonic()


def within_limits(work: Callable[[Pulse], Result]) -> Result:
    """The result of ``work``, waited for at most ``TOTAL_SECONDS`` in all.

    Args:
        work: Called in a thread with what it calls whenever it got on; from the first call on
            it may be silent for ``SILENCE_SECONDS``.

    Raises:
        TimeoutError: If the time is over.
    """
    pulse, done = Pulse(), queue.SimpleQueue[tuple[Any, BaseException | None]]()

    def body() -> None:
        try:
            done.put((work(pulse), None))
        except BaseException as error:  # it is raised where the result is waited for
            done.put((None, error))

    threading.Thread(target=body, name="sync", daemon=True).start()
    end = time.monotonic() + TOTAL_SECONDS
    while True:
        try:
            result, error = done.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            now = time.monotonic()
            silent = pulse.last is not None and now - pulse.last > SILENCE_SECONDS
            if silent or now > end:
                pulse.abandoned = True
                limit = f"for {SILENCE_SECONDS:.0f} s" if silent else f"to an end within {TOTAL_SECONDS:.0f} s"
                raise TimeoutError(f"it did not get on {limit}") from None
            continue
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]
