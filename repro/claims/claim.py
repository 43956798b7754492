"""What a claim is, and the figures it is compared with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repro.analysis import Estimate
from repro.paper import Printed

KINDS = ("number", "comparison", "statement")

# Factor from the units of records (fractions, bytes, seconds) to a claim's, and decimals shown. The paper's MB are MiB.
UNITS: Mapping[str, tuple[float, int]] = {
    "%": (100, 2),
    "points": (100, 2),
    "MB": (1 / 2**20, 3),
    "h": (1 / 3600, 1),
    "million": (1e-6, 3),
    "×": (1, 2),
    "levels": (1, 2),
    "bits": (1, 2),
    "orders of magnitude": (1, 2),
    "rank correlation": (1, 2),
    "of the initial rate": (1, 3),
    "weight units": (1, 2),
    "epoch": (1, 0),
    "rank": (1, 0),
    "parameters": (1, 0),
    "images": (1, 0),
    "epochs with NaN or Inf": (1, 0),
    "of 6 equal": (1, 0),
    "data sets": (1, 0),
    "% completed": (100, 0),
}
Z = 1.959963984540054  # half-width of a 95 % interval in standard errors, for one run's binomial error


@dataclass(frozen=True)
class Call:
    """A function of a registry by name, with its arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One checkable statement of the paper. Its fields are the keys of the data files.

    Attributes:
        id: Unique name.
        section: Heading under which it is listed.
        place: Where the paper says it.
        statement: What it says, in our words.
        kind: One of ``KINDS``.
        value: The number or range as printed; ``None`` where a claim that cannot be tested has none.
        unit: One of ``UNITS``.
        tolerance: How far a measured value may be off, in ``unit``.
        because: Why this tolerance.
        rule: Name in ``rules.RULES``; empty where it cannot be tested.
        query: What is read, from the authors' log and from records alike: a name in ``queries.QUERIES``.
        log: Data set of the authors' log that is read; empty for none.
        log_minus: Data set of the log whose figure is subtracted.
        experiments: Readings of what was run; the one nearest to the claim counts.
        minus: Readings of what is subtracted, paired by seed.
        combine: How several readings become one figure: a name in ``measure.COMBINE``.
        device: Only runs on this device count; empty for any.
        arithmetic: What can be computed without a run: a name in ``arithmetic.ARITHMETIC``.
        untestable: Why no verdict is possible here; empty where one is.
        note: What a reader needs to know besides.
    """

    id: str
    section: str
    place: str
    statement: str
    kind: str
    value: Printed | None = None
    unit: str = ""
    tolerance: float = 0.0
    because: str = ""
    rule: str = ""
    query: Call | None = None
    log: str = ""
    log_minus: str = ""
    experiments: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    combine: str = "closest"
    device: str = ""
    arithmetic: Call | None = None
    untestable: str = ""
    note: str = ""

    @property
    def printed(self) -> Printed:
        """The value; only for claims that have a rule, which all have one."""
        if self.value is None:
            raise ValueError(f"claim {self.id} has no value")
        return self.value

    def show(self, value: float) -> str:
        """A figure in the claim's unit, with its decimals."""
        least = UNITS[self.unit][1]
        digits = max(least, self.value.digits if self.value else 0)
        text = f"{value:.{digits}f}" if abs(value) < 10_000 else f"{value:,.{digits}f}"
        whole = self.unit in ("levels", "×") and float(value).is_integer()
        return text.partition(".")[0] if whole else text.replace("-", "−")

    def with_unit(self, number: str) -> str:
        """A shown figure with its unit."""
        if self.unit in ("epoch", "rank"):
            return f"{self.unit} {number}"
        return f"{number}{'' if self.unit == '×' else ' '}{self.unit}"


@dataclass(frozen=True)
class Reading:
    """A figure that needs no run of ours, in the claim's unit: by arithmetic, or from the authors' log.

    Attributes:
        low: The figure, or a range's lower end.
        high: The figure, or the upper end.
        how: Where it comes from, in words.
    """

    low: float
    high: float
    how: str


@dataclass(frozen=True)
class Measurement:
    """What runs of one scale give for a claim, in the claim's unit.

    Attributes:
        estimate: Mean and uncertainty over seeds.
        values: One figure a seed.
        scale: Scale of the runs.
        data: Data sets of the runs.
        runs: Experiments behind it, in words.
        diverged: Runs among them that diverged.
    """

    estimate: Estimate
    values: tuple[float, ...]
    scale: str
    data: str
    runs: str
    diverged: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval: over seeds, or with one run by the binomial error of the test set; ``None`` where unknown."""
        figure = self.estimate
        if math.isfinite(figure.low) and math.isfinite(figure.high):
            return figure.low, figure.high
        if math.isfinite(figure.standard_error):
            return figure.value - Z * figure.standard_error, figure.value + Z * figure.standard_error
        return None
