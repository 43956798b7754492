"""The comparison of two machines' losses; measuring them needs real CIFAR-10 and minutes."""

import importlib.util
from pathlib import Path


def test_losses_are_set_side_by_side_with_what_they_ran_on(project: Path) -> None:
    spec = importlib.util.spec_from_file_location("losses", project / "benchmarks" / "losses.py")
    losses = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(losses)
    first = {
        "losses": [2.0, 1.0, 0.5], "architecture": "x86_64", "processor": "a processor", "torch": "2.15.0",
        "threads": 1, "batch": 16, "initial_weights": "0123456789ab",
    }  # fmt: skip
    second = {**first, "losses": [2.0, 1.25], "architecture": "aarch64", "processor": "a phone"}
    *about, header, one, two = losses.compare(first, second).splitlines()
    assert "x86_64" in about[0]
    assert "a phone" in about[1]
    assert header.split() == ["step", "first", "second", "difference", "relative"]
    assert [float(number) for number in one.split()] == [1, 2, 2, 0, 0]
    assert [float(number) for number in two.split()] == [2, 1, 1.25, 0.25, 0.25]
