"""Numbers that other projects publish, from ``published.yaml``: what the shared training core is held to."""

from dataclasses import dataclass
from functools import cache

from repro.config.read import read_own_yaml
from repro.paper.values import FOLDER


@dataclass(frozen=True)
class Anchor:
    """One published number.

    Attributes:
        name: What was trained.
        experiment: The experiment of ``config.yaml`` that repeats it; ``None`` where none can.
        accuracy: Published test accuracy, a fraction.
        tolerance: How far below it a run may end and still reach it, a fraction.
        source: Where it stands.
        protocol: How it was trained.
        unknown: What the source does not say.
        differs: Where the experiment departs from the protocol.
    """

    name: str
    experiment: str | None
    accuracy: float
    tolerance: float
    source: str
    protocol: str
    unknown: str
    differs: str


@cache
def read_anchors() -> tuple[Anchor, ...]:
    """All of them, in the order of the file."""
    content = read_own_yaml(FOLDER / "published.yaml")
    tolerance = content["tolerance"] / 100
    return tuple(
        Anchor(**{**entry, "accuracy": entry["accuracy"] / 100, "tolerance": tolerance}) for entry in content["anchors"]
    )
