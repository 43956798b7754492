"""Durations as people read them."""

import pytest

from repro.text import duration, points


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (86400 * 3.5, "3.5 days")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("difference", "text"), [(0.01, "+1.00 points"), (-0.0123, "-1.23 points"), (-0.00001, "no difference")]
)
def test_points(difference: float, text: str) -> None:
    assert points(difference) == text
