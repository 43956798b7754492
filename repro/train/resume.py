"""Whether a state that was read from a file can be a state of the run that is to go on from it."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import torch
from torch import Tensor

from repro.quant import quant_layers
from repro.records import EPOCH_COLUMNS, LAYER_COLUMNS
from repro.records.integrity import DamagedError
from repro.train.build import build_optimizer
from repro.train.checkpoint import Checkpoint
from repro.train.measure import short_name
from repro.train.trainer import Trainer

MAY_BE_EMPTY = ("validation_loss", "validation_accuracy", "levels", "scale", "shrink_mean_steps", "shrink_max_steps")
TEXTS = ("layer",)
MACHINES = ("foreach", "fused")  # of an optimiser's options: how it computes follows the machine
MOST = 2**53  # whole numbers beyond are none of ours
MOST_SECONDS, LAST_YEAR = 1e10, 9000  # their sum is a date, too


def check_state(checkpoint: Checkpoint, trainer: Trainer) -> None:
    """Hold every value of a checkpoint against the run; nothing of ``trainer`` is changed.

    Args:
        checkpoint: What was read; its setting is right.
        trainer: Of the run, at its start.

    Raises:
        DamagedError: If the state cannot be the run's; the message names the field.
    """
    try:
        _check_rows(checkpoint, trainer)
        _check_progress(checkpoint, trainer)
        _check_tensors(checkpoint, trainer)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise DamagedError(f"not a state of this run ({type(error).__name__}: {error})") from None


def _check_rows(checkpoint: Checkpoint, trainer: Trainer) -> None:
    """All epochs and layers are there, in order, and every figure is a number."""
    names = [short_name(name) for name in quant_layers(trainer.model)]
    epochs = len(checkpoint.epochs)
    _require(epochs <= trainer.spec["epochs"], "epochs", f"{epochs} of {trainer.spec['epochs']}")
    numbers = [row["epoch"] for row in checkpoint.epochs]
    _require(numbers == list(range(1, epochs + 1)), "epochs", "some are missing")
    places = [(row["epoch"], row["layer"]) for row in checkpoint.layers]
    _require(places == [(epoch, name) for epoch in numbers for name in names], "layers", "some are missing")
    for field, rows, columns in (
        ("epochs", checkpoint.epochs, EPOCH_COLUMNS),
        ("layers", checkpoint.layers, LAYER_COLUMNS),
    ):
        for row in rows:
            _require(row.keys() == set(columns), field, "a row has other columns")
            wrong = [name for name in columns if not _may_stand(name, row[name])]
            _require(not wrong, f"{field}.{', '.join(wrong)}", "not a number")


def _may_stand(name: str, value: Any) -> bool:
    if name in TEXTS:
        return isinstance(value, str)
    return _is_number(value) or (value is None and name in MAY_BE_EMPTY)


def _check_progress(checkpoint: Checkpoint, trainer: Trainer) -> None:
    state, epochs = checkpoint.trainer, len(checkpoint.epochs)
    done, steps = state["epochs_done"], state["steps_done"]
    _require(type(done) is int and done == epochs, "epochs_done", f"{done!r} where {epochs} have rows")
    _require(type(steps) is int and 0 <= steps < len(trainer.batches), "steps_done", repr(steps))
    _require(not steps or done < trainer.spec["epochs"], "steps_done", "it goes on after its last epoch")
    for name in ("wall_seconds", "partial_seconds"):
        seconds = getattr(checkpoint, name)
        _require(_is_number(seconds) and 0 <= seconds < MOST_SECONDS, name, repr(seconds))
    started = datetime.fromisoformat(checkpoint.started_at)
    _require(started.tzinfo is not None and started.year < LAST_YEAR, "started_at", repr(checkpoint.started_at))
    places = checkpoint.trained_on
    _require(isinstance(places, list) and all(isinstance(place, str) for place in places), "trained_on", "no texts")
    if checkpoint.shared:
        seconds, shared = checkpoint.shared["wall_seconds"], checkpoint.shared["epochs"]
        _require(_is_number(seconds) and type(shared) is int and 0 < shared <= epochs, "shared", repr(shared))


def _check_tensors(checkpoint: Checkpoint, trainer: Trainer) -> None:
    state, own = checkpoint.trainer, trainer.state()
    optional = {"oscillations"}  # older files lack it
    _require(state.keys() - optional == own.keys() - optional, "trainer", "it has other parts")
    _same_shapes("model", state["model"], own["model"])
    if "oscillations" in state:
        counts = trainer.oscillations.state()
        _require(len(state["oscillations"]) == len(counts), "oscillations", "of other layers")
        for place, (held, expected) in enumerate(zip(state["oscillations"], counts, strict=True)):
            _same_shapes(f"oscillations.{place}", held, expected)
    _same_shapes("sums", state["sums"], own["sums"])
    _same_shapes("moved", dict(enumerate(state["moved"])), dict(enumerate(own["moved"])))
    # the generator of another kind of device has another size; the setting says that it is this kind
    _same_shapes("generator", {"": state["generator"].cpu()}, {"": own["generator"].cpu()})
    _check_optimizer(state["optimizer"], own["optimizer"], trainer)
    if _is_in_numbers(checkpoint):
        tensors = {**state["model"], **{f"sums.{name}": tensor for name, tensor in state["sums"].items()}}
        moments = state["optimizer"]["state"].items()
        tensors |= {f"optimizer.{place}.{name}": t for place, held in moments for name, t in held.items()}
        lost = [name for name, tensor in tensors.items() if isinstance(tensor, Tensor) and not _is_finite(tensor)]
        _require(not lost, ", ".join(map(str, lost[:3])), "no finite numbers")


def _check_optimizer(state: Mapping[str, Any], own: Mapping[str, Any], trainer: Trainer) -> None:
    """Its groups have the spec's options (the rate is set anew each epoch), and its moments the weights' shapes."""
    _require(len(state["param_groups"]) == len(own["param_groups"]), "optimizer", "it has other groups")
    for group, expected in zip(state["param_groups"], own["param_groups"], strict=True):
        machines = [group.get(name) in (None, True, False) for name in MACHINES]
        different = sorted(n for n in group.keys() & expected.keys() - {*MACHINES, "lr"} if group[n] != expected[n])
        _require({"params", "lr"} <= group.keys() and not different and all(machines), "optimizer", f"{different}")
    weights = [parameter for group in trainer.optimizer.param_groups for parameter in group["params"]]
    moments = _moments(trainer)
    for place, held in state["state"].items():
        _require(place in range(len(weights)), f"optimizer.{place}", "no weight of this model")
        _require(held.keys() == moments[place].keys(), f"optimizer.{place}", "not its moments")
        for name, value in held.items():
            shape = weights[place].shape if moments[place][name] else ()
            fits = isinstance(value, Tensor) and value.shape == shape and value.is_floating_point()
            _require(fits or (value is None and name == "momentum_buffer"), f"optimizer.{place}.{name}", "other shape")


def _moments(trainer: Trainer) -> list[dict[str, bool]]:
    """What the optimiser keeps of each weight, and whether that has the weight's shape: seen on a step of tiny ones."""
    trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    tiny = build_optimizer(trainer.spec, [torch.nn.Parameter(torch.zeros((2,) * weight.dim())) for weight in trained])
    parameters = [parameter for group in tiny.param_groups for parameter in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    tiny.step()
    return [{key: value.dim() > 0 for key, value in tiny.state[parameter].items()} for parameter in parameters]


def _same_shapes(field: str, found: Mapping[Any, Any], own: Mapping[Any, Tensor]) -> None:
    _require(found.keys() == own.keys(), field, "it holds other tensors")
    for name, tensor in own.items():
        same = isinstance(found[name], Tensor) and (found[name].shape, found[name].dtype) == (
            tensor.shape,
            tensor.dtype,
        )
        _require(same, f"{field}.{name}", f"not {tensor.dtype} {list(tensor.shape)}")


def _is_in_numbers(checkpoint: Checkpoint) -> bool:
    """Whether no figure so far says that the run has lost its numbers, as a run that diverges may."""
    last = checkpoint.epochs[-1:]
    figures: Sequence[Any] = [row[name] for row in last for name in ("train_loss", "test_loss", "gradient_norm")]
    return all(map(math.isfinite, [*figures, *(value.item() for value in checkpoint.trainer["sums"].values())]))


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= MOST)


def _require(holds: bool, field: str, problem: str) -> None:
    if not holds:
        raise DamagedError(f"not a state of this run: its {field} ({problem})")
