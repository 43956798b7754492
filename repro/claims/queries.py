"""What can be read from a run. The same functions read the authors' log and our records.

Each takes a run and gives one figure in the units of records; NaN where the run does not have it. Epochs are the
paper's: in a shorter run they are read at the same share of the run, as in table IV (``map_epochs``).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from repro.analysis import map_epochs

PRINTED = 0.00005  # half a unit in the last digit of an accuracy printed in per cent with two decimals
LARGEST_MAGNITUDE = 38.5  # log10 of FP32's largest number
NAN = math.nan


@dataclass(frozen=True)
class RunView:
    """A run as queries see it.

    Attributes:
        epochs: One row an epoch, with the columns of ``authors_log`` and, from records, those of ``epochs.csv``
            and ``max_abs_weight`` (largest of all layers).
        facts: The run's row of ``Evidence.runs``; empty for the log.
        length: Epochs that the run was to have.
        of: Epochs that it has in the paper.
        cut: Whether later epochs were left out, since a quantisation took its weights before them.
    """

    epochs: pd.DataFrame
    facts: Mapping[str, Any]
    length: int
    of: int
    cut: bool = False

    @property
    def weights_epoch(self) -> float:
        """Epoch whose weights a run of post-training quantisation took; infinite for a training."""
        quantized_after = str(self.facts.get("quantizer", "")).startswith("PTQ")
        return float(self.epochs["epoch"].iloc[-1]) if quantized_after else math.inf

    def until(self, epoch: float) -> "RunView":
        """The run as it was after an epoch."""
        kept = self.epochs[self.epochs["epoch"] <= epoch]
        return self if len(kept) == len(self.epochs) else replace(self, epochs=kept, cut=True)

    def as_taken(self, taken: "RunView") -> "RunView":
        """The run as another one took its weights; where they were trained again, the accuracy that those had."""
        then, accuracy = self.until(taken.weights_epoch), taken.fact("source_test_accuracy")
        if self.facts.get("run") != taken.facts.get("source_run") or math.isnan(accuracy):
            return then
        accuracies = [*then.epochs["test_accuracy"][:-1], accuracy]
        return replace(then, epochs=then.epochs.assign(test_accuracy=accuracies))

    def column(self, name: str, first: int = 1, last: int | None = None) -> pd.Series:
        """Known figures of the paper's epochs ``first`` to ``last``; none where the paper's run ends before them."""
        if name not in self.epochs or (last or 0) > self.of:
            return pd.Series(dtype=float)
        start, end = map_epochs(first, last or self.of, self.length, self.of)
        epochs = self.epochs["epoch"].to_numpy()
        return self.epochs[name][(epochs >= start) & (epochs <= end)].dropna()

    @property
    def best(self) -> pd.Series:
        """The epoch of best test accuracy, the first of equals."""
        accuracy = self.epochs["test_accuracy"]
        return self.epochs.iloc[int(accuracy.fillna(-1).argmax())]

    def fact(self, name: str) -> float:
        """A number of the run's row; NaN where it has none."""
        return float(self.facts.get(name, NAN))


def _one(figures: pd.Series) -> float:
    return float(figures.iloc[-1]) if len(figures) else NAN


def best_test_accuracy(run: RunView) -> float:
    """Best over all epochs: chosen on the test set, as the paper does."""
    return float(run.best["test_accuracy"])


def best_test_epoch(run: RunView) -> float:
    """Epoch of the best test accuracy."""
    return float(run.best["epoch"])


def best_epoch_levels(run: RunView) -> float:
    """Fewest levels of any layer at the best epoch."""
    return float(run.best.get("levels_min", NAN))


def final_test_accuracy(run: RunView) -> float:
    """Test accuracy after the last epoch."""
    return float(run.epochs["test_accuracy"].iloc[-1])


def final_train_accuracy(run: RunView) -> float:
    """Train accuracy of the last epoch."""
    return float(run.epochs["train_accuracy"].iloc[-1])


def validated_test_accuracy(run: RunView) -> float:
    """Test accuracy at the epoch chosen on validation images."""
    return run.fact("validated_test_accuracy")


def test_accuracy_at(run: RunView, epoch: int) -> float:
    """Test accuracy after an epoch of the paper."""
    return _one(run.column("test_accuracy", epoch, epoch))


def train_accuracy_at(run: RunView, epoch: int) -> float:
    """Train accuracy of an epoch of the paper."""
    return _one(run.column("train_accuracy", epoch, epoch))


def levels_at(run: RunView, epoch: int) -> float:
    """Mean levels in use over the layers."""
    return _one(run.column("levels_mean", epoch, epoch))


def levels_min(run: RunView, first: int, last: int) -> float:
    """Fewest levels of any layer over a range of epochs."""
    return float(run.column("levels_min", first, last).min())


def levels_max(run: RunView, first: int, last: int) -> float:
    """Most levels of any layer over a range of epochs."""
    return float(run.column("levels_max", first, last).max())


def levels_mean(run: RunView, first: int, last: int) -> float:
    """Mean levels over layers and a range of epochs."""
    return float(run.column("levels_mean", first, last).mean())


def farthest_test_accuracy(run: RunView, first: int, last: int, around: float) -> float:
    """Of a range of epochs, the test accuracy farthest from ``around`` (per cent): the worst for a band."""
    part = run.column("test_accuracy", first, last)
    return float(part.iloc[int((part - around / 100).abs().argmax())]) if len(part) else NAN


def drop_after_best(run: RunView) -> float:
    """Best test accuracy less that of the last epoch."""
    return best_test_accuracy(run) - final_test_accuracy(run)


def rise(run: RunView, first: int, last: int) -> float:
    """Rank correlation of epoch and test accuracy over a range of epochs: 1 for a rise without a step back."""
    part = run.column("test_accuracy", first, last)
    if len(part) < 3 or part.nunique() < 2:
        return NAN
    ranks = part.rank()
    return float(ranks.corr(pd.Series(range(len(part)), index=part.index, dtype=float)))


def epochs_without_numbers(run: RunView) -> float:
    """Epochs whose losses are NaN or infinite, or that were never reached."""
    losses = run.epochs[["train_loss", "test_loss"]].astype(float)
    finite = (losses.abs() < math.inf).all(axis=1)
    return float(run.length - finite.sum())


def largest_rate_rise(run: RunView) -> float:
    """Largest rise of the learning rate from one epoch to the next, as a share of the first: near 1 for a restart."""
    rates = run.column("learning_rate")
    return float(rates.diff().max() / rates.iloc[0]) if len(rates) > 1 else NAN


def equal_accuracies(run: RunView, cells: Sequence[Sequence[Any]]) -> float:
    """How many printed cells ``[epoch, column, per cent]`` are digit for digit this run's."""
    values = [(_one(run.column(column, epoch, epoch)), printed / 100) for epoch, column, printed in cells]
    return (
        NAN
        if any(math.isnan(value) for value, _ in values)
        else float(sum(abs(value - printed) < PRINTED for value, printed in values))
    )


def completed(run: RunView) -> float:
    """1 where the run completed, 0 where it diverged."""
    return float(run.facts.get("status") == "completed")


def completed_by_torch(run: RunView) -> float:
    """The same of runs with torch's own operators; NaN of others."""
    return completed(run) if run.facts.get("kernels") == "torch" else NAN


def seconds_for(run: RunView, epochs: int) -> float:
    """Time of so many epochs at the run's mean pace."""
    return run.fact("wall_seconds") / run.fact("epochs_run") * epochs


def largest_weight(run: RunView) -> float:
    """Largest magnitude of any weight after any epoch."""
    return float(run.column("max_abs_weight").max())


def selection_bonus(run: RunView) -> float:
    """What choosing the epoch on test images adds: best test accuracy less that of the epoch chosen on validation."""
    return best_test_accuracy(run) - validated_test_accuracy(run)


def log_error(run: RunView) -> float:
    """Natural logarithm of the error at the best epoch: differences are relative errors."""
    error = 1 - best_test_accuracy(run)
    return math.log(error) if error > 0 else NAN


def sharpness(run: RunView) -> float:
    """Rise of the training loss under the perturbation that ``python -m repro sharpness`` applies; NaN if not taken."""
    return run.fact("sharpness")


def gradient_magnitude(run: RunView) -> float:
    """Decimal logarithm of the largest epoch's mean gradient norm; FP32's largest where numbers were lost."""
    if epochs_without_numbers(run):
        return LARGEST_MAGNITUDE
    norm = float(run.column("gradient_norm").max())
    return math.log10(norm) if norm > 0 else NAN


# Of these, a run has a binomial error.
TEST_ACCURACIES = (best_test_accuracy, final_test_accuracy, validated_test_accuracy, test_accuracy_at)

# The same for every seed, so that one run tells.
SEEDLESS = (largest_rate_rise,)

# Whether a run lost its numbers: the spread of runs that did not, which is what a pool has, says nothing of it.
OUTCOMES = (completed, completed_by_torch, epochs_without_numbers)

QUERIES: Mapping[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        *TEST_ACCURACIES, *SEEDLESS, *OUTCOMES, best_test_epoch, best_epoch_levels, final_train_accuracy,
        train_accuracy_at, levels_at, levels_min, levels_max, levels_mean, farthest_test_accuracy, drop_after_best,
        rise, equal_accuracies, seconds_for, largest_weight, gradient_magnitude, selection_bonus, log_error, sharpness,
    )
}  # fmt: skip
