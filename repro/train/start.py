"""The weights from which a run with ``start_from`` begins."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from repro.config import Run
from repro.errors import ReproError
from repro.train.kept import kept_weights, weights_command


def load_start(run: Run, source: Run | None, results: Path) -> Mapping[str, Tensor] | None:
    """The last weights of the run that ``run`` starts from; ``None`` where it starts from random ones.

    Args:
        run: A training.
        source: The run whose spec ``run.spec["start_from"]`` is the hash of (``Plan.source``).
        results: Folder of the records.

    Raises:
        ReproError: If they are not there, or damaged.
    """
    if run.spec["start_from"] is None:
        return None
    if source is None:
        raise ReproError(
            f"{run.experiment} starts from the weights of another run, and without a plan nobody says of which one"
        )
    path = source.weights_path(results)
    if not path.exists():
        raise ReproError(
            f"{path} is not there: {run.experiment} starts from the weights of {source.experiment}; make them with "
            f"`{weights_command(source)}`"
        )
    return kept_weights(source, results)


def put_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a model without quantisers the weights and statistics of another one.

    Raises:
        ReproError: If they are those of another model.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ReproError(f"the weights that this run starts from are not those of its model ({reason})") from None
