"""The paper's values from ``values.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from repro.config.read import read_own_yaml

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Printed:
    """A number or a range as the paper prints it.

    Attributes:
        low: The number, or the range's lower end.
        high: The number, or the range's upper end.
        digits: Decimals printed, so that 87.3 is not shown as 87.30.
    """

    low: float
    high: float
    digits: int


def parse_printed(text: str) -> Printed:
    """``"92.34"`` or ``"90–91"`` (an en dash) as numbers.

    Args:
        text: The value as printed, without its unit.

    Raises:
        ValueError: If it is neither; the package's own data is wrong then.
    """
    parts = text.split("–")
    digits = max(len(part.partition(".")[2]) for part in parts)
    return Printed(low=float(parts[0]), high=float(parts[-1]), digits=digits)


@cache
def _read() -> Mapping[str, Any]:
    content: Mapping[str, Any] = read_own_yaml(FOLDER / "values.yaml")
    return content


def read_table(name: str) -> Mapping[str, Any]:
    """One of the paper's tables, such as ``table2``: its place, caption and rows as in ``values.yaml``."""
    table: Mapping[str, Any] = _read()["tables"][name]
    return table


def read_numbers() -> Mapping[str, str]:
    """Numbers of the paper's text that arithmetic starts from, as printed without separators, to their place."""
    numbers: Mapping[str, str] = _read()["numbers"]
    return numbers


def read_logs() -> Mapping[str, Mapping[str, Any]]:
    """The author's logs by data set: file, the experiment that repeats the run, test images."""
    logs: Mapping[str, Mapping[str, Any]] = _read()["logs"]
    return logs
