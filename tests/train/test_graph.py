"""The captured step, on a CPU through a capture that keeps the call and replays it."""

from collections.abc import Callable

import pytest
import torch

from repro.config import Run, Spec
from repro.data import ImageData, load_dataset
from repro.train import Trainer
from repro.train.graph import WARM_UP_STEPS, StepGraph

CPU = torch.device("cpu")


class Recorded:
    """What a CUDA graph is to its user: a call on tensors that stay where they are."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.replay = call


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_dataset("digits10", train_images=340, test_images=40)


def graphed(spec: Spec, data: ImageData, captures: list[Recorded]) -> Trainer:
    def capture(call: Callable[[], None]) -> Recorded:
        captures.append(Recorded(call))
        return captures[-1]

    return Trainer(spec, 0, data, CPU, capture=capture)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_replayed_epochs_have_the_bits_of_called_ones(
    digits: ImageData, tiny_run: Callable[..., Run], precision: str
) -> None:
    """Three epochs of ten full batches and a short one: rate, order, crops and dropout are those of each epoch."""
    spec = tiny_run(batch_size=32, precision=precision).spec
    captures: list[Recorded] = []
    plain, replayed = Trainer(spec, 0, digits, CPU), graphed(spec, digits, captures)
    for _ in range(3):
        assert plain.train_epoch() == replayed.train_epoch()
    assert len(captures) == 1, "captured once for all epochs"
    one, two = plain.model.state_dict(), replayed.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_state_tensors_stay_where_they_are(digits: ImageData, tiny_run: Callable[..., Run]) -> None:
    """A graph reads and writes the addresses it was captured with, so no step, epoch or evaluation may move them."""
    trainer = Trainer(tiny_run(batch_size=32).spec, 0, digits, CPU)
    trainer.train_epoch()

    def places() -> list[int]:
        state = trainer.optimizer.state.values()
        tensors = [*trainer.model.parameters(), *trainer.model.buffers(), *trainer.weight_clip.moved]
        tensors += [value for entry in state for value in entry.values()]
        tensors += [*trainer._sums.values(), *vars(trainer._draw).values()]
        return [tensor.data_ptr() for tensor in tensors]

    before = places()
    trainer.train_epoch()
    trainer.evaluate(trainer.data.test)
    trainer.train_epoch()
    assert places() == before


def test_warm_up_and_other_batch_sizes_are_called_as_they_are() -> None:
    called: list[list[int]] = []
    captures: list[Recorded] = []

    def capture(call: Callable[[], None]) -> Recorded:
        captures.append(Recorded(call))
        return captures[-1]

    graph = StepGraph(lambda rows: called.append(rows.tolist()), 2, CPU, capture)
    for index in range(WARM_UP_STEPS):
        graph(2 * index, 2 * index + 2)
    assert not captures
    graph(8, 9)
    assert not captures
    graph(4, 6)
    graph(0, 2)
    assert len(captures) == 1
    assert called == [[0, 1], [2, 3], [4, 5], [8], [4, 5], [0, 1]]
