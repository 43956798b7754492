"""Processes that hold what is timed and run it when told to, so that one works while the others wait."""

import multiprocessing
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

Setup = Callable[..., Mapping[str, Callable[..., Any]]]


class Worker:
    """A process of its own, with its own threads and allocator."""

    def __init__(self, setup: Setup, *arguments: Any) -> None:
        """Start ``setup(*arguments)`` there, which gives calls by name."""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, setup, arguments))
        self._process.start()

    def start(self, name: str, *arguments: Any) -> None:
        """Begin a call."""
        self._connection.send((name, arguments))

    def result(self) -> Any:
        """Wait for it."""
        try:
            return self._connection.recv()
        except EOFError:
            raise SystemExit("a benchmark process ended early; its error stands above") from None

    def call(self, name: str, *arguments: Any) -> Any:
        """Begin a call and wait for it."""
        self.start(name, *arguments)
        return self.result()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, setup: Setup, arguments: tuple[Any, ...]) -> None:
    calls = setup(*arguments)
    while True:
        try:
            name, given = connection.recv()
        except EOFError:
            return
        connection.send(calls[name](*given))
