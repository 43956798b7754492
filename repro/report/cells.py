"""The cells of a table: a number with all that a reader needs to trace it. Text is made of it only when it is shown."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from repro.analysis import Estimate, estimate, paired_difference
from repro.paper import parse_printed, read_logs
from repro.records import COMPLETED, DIVERGED, EXPORT_NUMBERS
from repro.report.view import View
from repro.report.vocabulary import BEST, DERIVED, EXACT, LAST, LOG, OURS, PAPER, VALIDATED, twin
from repro.units import UNITS

NOT_RUN, NONE = "not run", "none"
NAN = math.nan


@dataclass(frozen=True)
class Cell:
    """A figure of a table, or words.

    Attributes:
        source: Where it comes from: paper, authors' log, ours, ...; ``ours`` is what a record's own files hold.
        status: ``completed``, ``diverged`` (at least one run), ``not run``, or ``none``: there is nothing to show.
        unit: A key of ``UNITS``.
        value: The figure in that unit; NaN for a range or for words.
        low: Lower end of the 95 % interval over seeds, or of a range.
        high: Upper end.
        standard_error: Binomial standard error of the test set, with one seed; of a difference, as if of two sets.
        n: Seeds; 0 where they do not apply.
        digits: Decimals shown.
        text: Words in place of a figure.
        experiment: Experiment behind it.
        measure: What of its records; ``a - b`` is the difference to experiment ``b``, perhaps at an epoch of it.
        data: Data sets of the runs.
        seeds: Their seeds.
        epochs: Their epochs.
        diverged: How many of them diverged.
        place: Where the paper says it.
    """

    source: str
    status: str = NONE
    unit: str = "text"
    value: float = NAN
    low: float = NAN
    high: float = NAN
    standard_error: float = NAN
    n: int = 0
    digits: int = 0
    text: str = ""
    experiment: str = ""
    measure: str = ""
    data: str = ""
    seeds: tuple[int, ...] = ()
    epochs: int = 0
    diverged: int = 0
    place: str = ""

    @property
    def key(self) -> float:
        """What it sorts by: the value, or a range's lower end; NaN for words."""
        return self.low if math.isnan(self.value) else self.value

    @property
    def known(self) -> bool:
        """Whether there is anything but a gap."""
        return self.status in (COMPLETED, DIVERGED)

    def at(self, figure: Estimate) -> "Cell":
        """The same cell with an estimate in the units of records; what is exact has no interval."""
        factor, digits = UNITS[self.unit]
        low, high = (NAN, NAN) if self.unit in EXACT else (figure.low * factor, figure.high * factor)
        return replace(
            self, value=figure.value * factor, low=low, high=high, n=figure.n,
            standard_error=figure.standard_error * factor, digits=self.digits or digits,
        )  # fmt: skip

    def of(self, runs: pd.DataFrame) -> "Cell":
        """The same cell with data, seeds, epochs and outcome of the runs behind it; rows of ``Evidence.select``."""
        if runs.empty:
            return replace(self, status=NOT_RUN)
        diverged = list(runs["status"]).count(DIVERGED)
        return replace(
            self, status=DIVERGED if diverged else COMPLETED, diverged=diverged, n=len(runs),
            data=" ".join(dict.fromkeys(runs["data"])), seeds=tuple(int(seed) for seed in runs.index),
            epochs=int(runs["epochs"].max()),
        )  # fmt: skip


def paper_cell(printed: str | None, unit: str, place: str = "") -> Cell:
    """A value as the paper prints it, a single number or a range; nothing where ``printed`` is ``None``."""
    if printed is None:
        return Cell(PAPER, unit=unit)
    number = parse_printed(printed)
    cell = Cell(PAPER, COMPLETED, unit, digits=number.digits, place=place)
    if number.low == number.high:
        return replace(cell, value=number.low)
    return replace(cell, low=number.low, high=number.high)


def log_cell(figures: Mapping[str, float], measure: str, unit: str, dataset: str) -> Cell:
    """A figure of the authors' published log, one run; nothing where the log does not have it.

    Args:
        figures: What the log has, in the units of records.
        measure: Which of them. A test accuracy has the binomial standard error of its test set.
        unit: Unit of the table.
        dataset: Data set of the log.
    """
    if measure not in figures:
        return Cell(LOG, unit=unit)
    images = read_logs()[dataset]["test_images"] if measure.endswith("test_accuracy") else None
    return Cell(LOG, COMPLETED, unit).at(estimate([figures[measure]], images))


def our_cell(view: View, experiment: str | None, measure: str, unit: str) -> Cell:
    """A measured figure over the seeds at hand.

    Args:
        view: The records of a scale.
        experiment: Its name; ``None`` or an unknown name is "not run".
        measure: A column of ``Evidence.runs``. The accuracy chosen on validation is the twin experiment's.
        unit: Unit of the table.
    """
    if experiment is not None and measure == VALIDATED:
        experiment = twin(experiment)
        if experiment not in view.config.experiments:
            return Cell(OURS, unit=unit, measure=measure)
    if measure == BEST and view.after_training(experiment):  # its one accuracy stands under the last epoch
        return Cell(OURS, unit=unit, measure=measure)
    about = Cell(OURS, unit=unit, experiment=experiment or "", measure=measure)
    runs = view.runs(experiment)
    if measure in EXPORT_NUMBERS:
        runs = runs[runs[measure].notna()]  # of the seeds that were exported
    if runs.empty:
        return about.of(runs)
    trials = float(runs["test_images"].min()) if measure.endswith("test_accuracy") else None
    return about.of(runs).at(estimate(runs[measure], trials))


def our_difference(view: View, experiment: str | None, reference: str | None, measure: str, unit: str) -> Cell:
    """A measured difference over the seeds that both experiments have: ``points`` or, reversed, a ``gap``.

    What stands beside PTQ is read at the epoch whose weights it took.
    """
    about = Cell(OURS, unit=unit, experiment=experiment or "", measure=f"{measure} - {reference}")
    quantized_after = view.after_training(experiment)
    if reference is None or experiment == reference or (quantized_after and measure != LAST):
        return about
    runs, base = view.runs(experiment), view.runs(reference)
    own, others = runs[measure], base[measure]
    taken = runs["best_test_epoch"]
    if quantized_after and len(runs) and taken.max() < base["epochs"].max():
        others = view.evidence.accuracies_at(view.scale, reference, taken)
        about = replace(about, measure=f"{about.measure} at epoch {taken.max():.0f}")
    again = runs["source_test_accuracy"].where(runs["source_run"] == base["run"].reindex(runs.index)).dropna()
    others = again.combine_first(others)  # of the very weights that PTQ took
    common = runs if runs.index.equals(others.index) else runs.loc[runs.index.intersection(others.index)]
    first, second = (others, own) if unit == "gap" else (own, others)
    if common.empty:
        return about.of(common)
    trials = float(common["test_images"].min()) if measure.endswith("test_accuracy") else None
    return about.of(common).at(paired_difference(first, second, trials))


def words(text: str, source: str = PAPER, place: str = "") -> Cell:
    """A cell of words."""
    return Cell(source, COMPLETED if text else NONE, text=text, place=place)


def computed(value: float, unit: str, source: str = DERIVED) -> Cell:
    """A figure in the table's own unit that no seed spreads; nothing where it is not a number."""
    return Cell(source, NONE if math.isnan(value) else COMPLETED, unit, value, digits=UNITS[unit][1])
