"""One training step as a CUDA graph: captured once, replayed for every full batch."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

WARM_UP_STEPS = 3  # real steps before the capture: cuDNN chooses kernels, the optimiser makes its state


class Replay(Protocol):
    """A captured step."""

    def replay(self) -> None:
        """Run it on the tensors that it was captured with."""


Capture = Callable[[Callable[[], None]], Replay]


class StepGraph:
    """Calls a step on a range of rows, or captures it once and replays it.

    A replay costs one launch instead of some two hundred, which at batch 128 cost more time than the kernels.
    The step reads where its batch starts from a tensor on the device, so every replay sees the next batch; a batch
    of another size (an epoch's last) is called as it is.
    """

    def __init__(
        self,
        step: Callable[[Tensor], None],
        batch_size: int,
        device: torch.device,
        capture: Capture | None,
    ) -> None:
        """Wrap ``step``.

        Args:
            step: One training step on rows (int64 [B]); it must leave no tensor behind that it did not find.
            batch_size: Rows of a full batch.
            device: Where the step runs.
            capture: Captures a call; ``None`` calls every step.
        """
        self._step, self._batch_size, self._device = step, batch_size, device
        self._capture = capture
        self._start = torch.zeros((), dtype=torch.int64, device=device)
        self._offsets = torch.arange(batch_size, device=device)
        self._called = 0
        self._captured: Replay | None = None

    def __call__(self, start: int, end: int) -> None:
        """Train on rows ``start`` to ``end`` of the epoch's order."""
        full = end - start == self._batch_size
        if self._capture is None or not full or self._called < WARM_UP_STEPS:
            self._step(torch.arange(start, end, device=self._device))
            self._called += full
            return
        self._start.fill_(start)
        if self._captured is None:
            self._captured = self._capture(lambda: self._step(self._start + self._offsets))
        self._captured.replay()


class CudaCapture:
    """Captures on the current stream, which must not be the default one."""

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        """``generator`` advances with every replay, as it would with every call."""
        self._device, self._generator = device, generator

    def __call__(self, call: Callable[[], None]) -> Replay:
        """Capture ``call`` without running it."""
        graph: Any = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        stream = torch.cuda.current_stream(self._device)
        # thread_local: the thread that writes checkpoints may go on meanwhile
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            call()
        replay: Replay = graph
        return replay
