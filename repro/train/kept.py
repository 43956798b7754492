"""The weights that a finished run has kept, held against its record before anything is made of them."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from repro.config import Run
from repro.config.runs import WEIGHTS_NAME, ZERO_RATE_WEIGHTS_NAME
from repro.errors import ReproError
from repro.records import RecordError, atomic_write, read_record
from repro.records.files import read_regular
from repro.records.integrity import DamagedError
from repro.train.files import load, tensors_digest

DIGESTS = {WEIGHTS_NAME: "weights_sha256", ZERO_RATE_WEIGHTS_NAME: "zero_rate_weights_sha256"}  # in the summary
# Digests of weights that were trained again on another platform, where the last bits are others than the record's.
RETRAINED_NAME = ".retrained.json"

logger = logging.getLogger(__name__)


def kept_weights(run: Run, results: Path, name: str = WEIGHTS_NAME) -> Mapping[str, Tensor]:
    """Weights of a run; those of a record that names their digest are the very ones.

    Args:
        run: Whose they are.
        results: Folder of the records.
        name: Which: the last, or those where the rate is zero.

    Raises:
        ReproError: If they are not there, damaged, or not those of the record.
    """
    directory = run.directory(results)
    path = directory / name
    try:
        state: Mapping[str, Tensor] = load_weights(path)
    except FileNotFoundError:
        raise ReproError(
            f"{path}: no weights (a clone holds records alone); {way_to_weights(run, directory)}"
        ) from None
    except DamagedError as error:
        raise ReproError(f"{path}: {error}; delete it, then {way_to_weights(run, directory)}") from None
    recorded = _recorded_digest(run, results, name)
    found = tensors_digest(state)
    if recorded in (None, found):
        return state
    if _retrained(directory).get(name) != found:
        raise ReproError(
            f"{path}: not the weights of the record beside it; delete it, then {way_to_weights(run, directory)}"
        )
    logger.info("%s: trained again on another platform, so its last bits are not the record's", path)
    return state


def load_weights(path: Path) -> Mapping[str, Tensor]:
    """The tensors in a file by name.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedError: If it is not whole, or holds something else.
    """
    state: Mapping[str, Tensor] = load(path)
    if not isinstance(state, Mapping) or not all(
        isinstance(k, str) and isinstance(t, Tensor) for k, t in state.items()
    ):
        raise DamagedError("it holds no weights")
    return state


def note_retrained(run: Run, results: Path) -> None:
    """Remember that the weights beside a record are those of another training, where they differ from the record's."""
    directory = run.directory(results)
    found = {name: tensors_digest(load_weights(directory / name)) for name in DIGESTS if (directory / name).exists()}
    recorded = {name: _recorded_digest(run, results, name) for name in found}
    others = {name: digest for name, digest in found.items() if recorded[name] not in (None, digest)}
    if others:
        atomic_write(directory / RETRAINED_NAME, json.dumps(others) + "\n")


def way_to_weights(run: Run, directory: Path) -> str:
    """What to type for weights that are gone."""
    if run.epochs_to_train:
        return f"`{weights_command(run)}` trains them again"
    return f"to make them, move the folder {directory} away and run `{train_command(run)}`"


def weights_command(run: Run) -> str:
    """What to type for a training's weights."""
    return train_command(run).replace(" train ", " weights ", 1)


def train_command(run: Run) -> str:
    """What to type to train a run."""
    return f"python -m repro train {run.experiment} --scale {run.scale} --seed {run.seed}"


def _recorded_digest(run: Run, results: Path, name: str) -> str | None:
    """What the record says; ``None`` without one, or where it is from before records said so."""
    try:
        digest = read_record(run.record_path(results)).summary.get(DIGESTS[name])
    except RecordError:
        return None
    return digest if isinstance(digest, str) else None


def _retrained(directory: Path) -> Mapping[str, str]:
    try:
        found = json.loads(read_regular(directory / RETRAINED_NAME))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
