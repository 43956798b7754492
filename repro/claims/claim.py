"""What a claim is, and the figures it is compared with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repro.analysis import Spread
from repro.paper import Printed
from repro.units import UNITS, WHOLE

KINDS = ("number", "comparison", "statement")


@dataclass(frozen=True)
class Call:
    """A function of a registry by name, with its arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last_epoch(self) -> int | None:
        """The last of the paper's epochs that a query reads; ``None`` for one of the whole run."""
        found: int | None = self.arguments.get("epoch", self.arguments.get("last"))
        return found


@dataclass(frozen=True)
class Claim:
    """One checkable statement of the paper. Its fields are the keys of the data files.

    Attributes:
        id: Unique name.
        section: Heading under which it is listed.
        fact: What it stands or falls with: claims of one fact are one finding. Its own id where it stands alone.
        place: Where the paper says it.
        statement: What it says, in our words.
        kind: One of ``KINDS``.
        value: The number or range as printed; ``None`` where a claim has none, for it is decided by words alone.
        unit: One of ``units.UNITS``.
        tolerance: How far a measured value may be off, in ``unit``.
        because: Why this tolerance.
        single: The paper's figure is one epoch of one run, itself a draw: the interval is one for a further draw.
        rule: Name in ``rules.RULES``; empty where it is decided by words or cannot be tested.
        query: What is read, from the authors' log and from records alike: a name in ``queries.QUERIES``.
        log: Data set of the authors' log that is read; empty for none.
        log_minus: Data set of the log whose figure is subtracted.
        experiments: Readings of what was run.
        minus: Readings of what is subtracted, paired by seed.
        less: Two experiments whose difference is subtracted in turn: a difference of differences.
        combine: How several readings make one verdict: a name in ``combine.COMBINE``.
        device: Only runs on this device count; empty for any.
        arithmetic: What can be computed without a run: a name in ``arithmetic.ARITHMETIC``.
        beside: Arithmetic of this suite's own count, shown beside; it decides nothing.
        against: Other words of the paper that contradict it, with their place.
        untestable: Why no verdict is possible here; empty where one is.
        own: This suite's criterion for something that the paper says without one, and no sentence of the paper.
        note: What a reader needs to know besides.
    """

    id: str
    section: str
    place: str
    statement: str
    kind: str
    fact: str = ""
    value: Printed | None = None
    unit: str = ""
    tolerance: float = 0.0
    because: str = ""
    single: bool = False
    rule: str = ""
    query: Call | None = None
    log: str = ""
    log_minus: str = ""
    experiments: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    combine: str = "closest"
    device: str = ""
    arithmetic: Call | None = None
    beside: Call | None = None
    against: str = ""
    untestable: str = ""
    own: bool = False
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
        whole = self.unit in WHOLE and float(value).is_integer()
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
    """What the runs of one reading at one scale give for a claim, in the claim's unit.

    Attributes:
        values: One figure a seed, at least one.
        spread: What is known of the spread between seeds; ``None`` where nothing is.
        error: Binomial standard error of the test images for an accuracy, NaN for other figures: shown, never used.
        scale: Scale of the runs.
        data: Data sets of the runs.
        runs: Experiments behind it, in words.
        diverged: Runs among them that diverged.
        lost: Further seeds that have no figure, since a run diverged before it.
        after_training: Whether one of them is PTQ, so that all are read at the epoch whose weights it took.
    """

    values: tuple[float, ...]
    spread: Spread | None
    error: float
    scale: str
    data: str
    runs: str
    diverged: int = 0
    lost: int = 0
    after_training: bool = False

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return sum(self.values) / len(self.values)

    def half_width(self, choices: int = 1, *, single: bool = False) -> float | None:
        """Half the interval against which a tolerance is held; ``None`` where the spread between seeds is not known.

        Args:
            choices: Readings among which this one was chosen; see ``Spread.half_width``.
            single: For one further run rather than for the mean: ``sqrt(1 + 1 / n)`` in place of ``sqrt(1 / n)``.
        """
        if self.spread is None:
            return None
        n = len(self.values)
        return self.spread.half_width(n, choices) * math.sqrt(n + 1 if single else 1)

    def interval(self, choices: int = 1, *, single: bool = False) -> tuple[float, float] | None:
        """That interval around the mean."""
        half = self.half_width(choices, single=single)
        return None if half is None else (self.mean - half, self.mean + half)


@dataclass(frozen=True)
class Measured:
    """What one scale gives for a claim.

    Attributes:
        scale: The scale.
        found: One a reading that has run.
        missing: Readings that have not, in words.
        bf16: What is known of bfloat16 against FP32; empty for a scale that computes in FP32.
    """

    scale: str
    found: tuple[Measurement, ...]
    missing: tuple[str, ...] = ()
    bf16: str = ""

    @property
    def choices(self) -> int:
        """Readings, run or not: so many could have been chosen."""
        return len(self.found) + len(self.missing)


@dataclass(frozen=True)
class Findings:
    """All that is known about a claim.

    Attributes:
        arithmetic: Result of its arithmetic, in its unit.
        log: Figure of the authors' log.
        measured: Of each scale that decides and has runs of it, in order of precedence.
        reduced: Of the next other scale that has any.
    """

    arithmetic: Reading | None = None
    log: Reading | None = None
    measured: tuple[Measured, ...] = ()
    reduced: Measured | None = None
