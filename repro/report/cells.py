"""The cells of a table: one row a number, with everything a reader needs to trace it.

Every comparison table is built from these and shown by ``repro.report.present``; its CSV is this frame.
"""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from repro.analysis import Estimate, Evidence, estimate, paired_difference
from repro.paper import parse_printed
from repro.records import COMPLETED, DIVERGED, EXPORT_NUMBERS
from repro.report.labels import twin
from repro.units import UNITS

NOT_RUN = "not run"
NONE = "none"
PAPER, LOG, OURS = "paper", "authors' log", "ours"

WHOLE = ("epoch", "levels")  # counts, shown without decimals unless a mean over seeds has some

# Where a cell stands (scale to column), what it is, its value in ``unit``, and where it comes from.
CELL_COLUMNS = (
    "scale", "row", "group", "column", "source", "status", "value", "low", "high", "standard_error", "n", "unit",
    "digits", "experiment", "measure", "data", "seeds", "epochs", "diverged", "place", "note",
)  # fmt: skip
BEST, LAST, VALIDATED = "best_test_accuracy", "final_test_accuracy", "validated_test_accuracy"

Cell = dict[str, Any]


def cell_frame(cells: Iterable[Cell]) -> pd.DataFrame:
    """Cells as a frame with all of ``CELL_COLUMNS``; what a cell does not say is empty."""
    return pd.DataFrame(list(cells), columns=CELL_COLUMNS)


def paper_cell(printed: str | None, unit: str, place: str = "") -> Cell:
    """A value as the paper prints it, a single number or a range; none where ``printed`` is ``None``."""
    if printed is None:
        return {"source": PAPER, "status": NONE, "unit": unit}
    number = parse_printed(printed)
    cell: Cell = {"source": PAPER, "status": COMPLETED, "unit": unit, "digits": number.digits, "place": place}
    if number.low == number.high:
        return {**cell, "value": number.low}
    return {**cell, "low": number.low, "high": number.high}


def log_cell(value: float | None, unit: str, test_images: int | None = None) -> Cell:
    """A figure of the authors' published log, one run.

    Args:
        value: In the units of records; ``None`` where the log does not have it.
        unit: Unit of the table.
        test_images: Given for test accuracies, whose binomial standard error is then shown.
    """
    if value is None:
        return {"source": LOG, "status": NONE, "unit": unit}
    return {"source": LOG, "status": COMPLETED, **in_unit(estimate([value], test_images), unit)}


def in_unit(figure: Estimate, unit: str) -> Cell:
    """An estimate in the units of records as fields of a cell."""
    factor, digits = UNITS[unit]
    return {
        "value": figure.value * factor,
        "low": figure.low * factor,
        "high": figure.high * factor,
        "standard_error": figure.standard_error * factor,
        "n": figure.n,
        "unit": unit,
        "digits": digits,
    }


def our_cell(evidence: Evidence, scale: str, experiment: str | None, measure: str, unit: str) -> Cell:
    """A measured figure over the seeds at hand.

    Args:
        evidence: The records.
        scale: Scale of the runs.
        experiment: Its name; ``None`` or an unknown name is "not run".
        measure: A column of ``Evidence.runs``. The accuracy chosen on validation is the twin experiment's.
        unit: Unit of the table.
    """
    if experiment is not None and measure == VALIDATED:
        experiment = twin(experiment)
        if experiment not in evidence.config.experiments:
            return {"source": OURS, "status": NONE, "unit": unit, "measure": measure, "note": "no twin run"}
    about: Cell = {"source": OURS, "experiment": experiment, "measure": measure, "unit": unit}
    runs = evidence.select(scale, experiment or "")
    if measure in EXPORT_NUMBERS:
        runs = runs[runs[measure].notna()]  # of the seeds that were exported
    if runs.empty:
        return {**about, "status": NOT_RUN, "n": 0}
    trials = float(runs["test_images"].min()) if measure.endswith("test_accuracy") else None
    return {**about, **run_fields(runs), **in_unit(estimate(runs[measure], trials), unit)}


def our_difference(
    evidence: Evidence, scale: str, experiment: str | None, reference: str, measure: str, unit: str
) -> Cell:
    """A measured difference over the seeds that both experiments have: ``points`` or, reversed, a ``gap``."""
    about: Cell = {"source": OURS, "experiment": experiment, "measure": f"{measure} - {reference}", "unit": unit}
    if experiment == reference:
        return {**about, "status": NONE}
    runs, base = evidence.select(scale, experiment or ""), evidence.select(scale, reference)
    first, second = (base, runs) if unit == "gap" else (runs, base)
    difference = paired_difference(first[measure], second[measure])
    if not difference.n:
        return {**about, "status": NOT_RUN, "n": 0}
    common = runs.loc[runs.index.intersection(base.index)]
    return {**about, **run_fields(common), **in_unit(difference, unit)}


def run_fields(runs: pd.DataFrame) -> Cell:
    """Data, seeds, epochs and outcome of the runs behind a cell; rows of ``Evidence.select``."""
    diverged = int((runs["status"] == DIVERGED).sum())
    return {
        "status": DIVERGED if diverged else COMPLETED,
        "diverged": diverged,
        "data": " ".join(dict.fromkeys(runs["data"])),
        "seeds": " ".join(str(seed) for seed in runs.index),
        "epochs": int(runs["epochs"].max()),
    }


def text_cell(text: str, source: str = PAPER) -> Cell:
    """A cell of words."""
    return {"source": source, "status": COMPLETED if text else NONE, "unit": "text", "note": text}


def is_number(value: Any) -> bool:
    """Whether a field of a cell holds a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
