"""Durations as people read them."""

import pytest

from repro.text import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (86400 * 3.5, "3.5 days")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
