"""Kernels with torch's operators beside them."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import torch

from repro.kernels import library
from repro.kernels.library import SWITCH

Result = TypeVar("Result")


@pytest.fixture
def kernels() -> None:
    """Skip where no kernels can be had: there is then nothing to compare."""
    if library() is None:
        pytest.skip("no C compiler that works: torch's own operators run, as all other tests show")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch's number of threads, put back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], Result]], Result]]:
    """Calls a function with every kernel left out."""

    def call(function: Callable[[], Result]) -> Result:
        with monkeypatch.context() as patch:
            patch.setenv(SWITCH, "torch")
            library.cache_clear()
            result = function()
        library.cache_clear()
        return result

    yield call
    library.cache_clear()
