"""A run's figures as MLflow's metrics, grouped by what stands before the slash, and their points."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from repro.records import Record

LAYER_METRICS = ("levels", "scale", "max_abs_weight")
SUMMARY = "summary/"
SYSTEM = "system/"  # MLflow's own, of the machine; no record has them
SPLITS = ("train", "test", "validation")
TIMES = ("wall_seconds", "images_per_second")

Row = Mapping[str, Any]


class Point(NamedTuple):
    """One value of one metric; ``timestamp`` in milliseconds since 1970."""

    key: str
    value: float
    step: int
    timestamp: int


def metric_name(column: str) -> str:
    """The metric of a column of ``epochs.csv``, such as ``train/loss``."""
    split, _, rest = column.partition("_")
    if split in SPLITS:
        return f"{split}/{rest}"
    return f"time/{column}" if column in TIMES else f"optimizer/{column}"


def epoch_points(epochs: Sequence[Row], layers: Sequence[Row], start: int) -> list[Point]:
    """Metrics of epochs: every numeric column, and per layer ``levels/conv1`` and the like.

    An epoch's time is ``start`` plus the training time up to it, not the time of the call: the store
    drops a point that it already holds to the millisecond, so one that is logged twice stays single.
    The epoch's own columns come after those of its layers: where they stand, all of it stands.
    """
    times: dict[int, int] = {}
    seconds = 0.0
    for row in epochs:
        seconds += _number(row["wall_seconds"]) or 0.0
        times[int(row["epoch"])] = start + round(1000 * seconds)
    cells = [(int(row["epoch"]), f"{key}/{row['layer']}", row[key]) for row in layers for key in LAYER_METRICS]
    cells += [(int(row["epoch"]), metric_name(key), row[key]) for row in epochs for key in row if key != "epoch"]
    numbers = ((epoch, key, _number(value)) for epoch, key, value in cells)
    return [Point(key, value, epoch, times.get(epoch, start)) for epoch, key, value in numbers if value is not None]


def summary_metrics(record: Record) -> dict[str, float]:
    """Figures of the whole run by their metrics, such as ``summary/final_test_accuracy``."""
    sections = {
        SUMMARY: record.summary,
        "size/": record.size,
        "compute/": record.compute,
        "timing/": record.timing,
    }
    return {
        prefix + key: clip(value)
        for prefix, section in sections.items()
        for key, value in section.items()
        if isinstance(value, int | float)
    }


def _number(value: Any) -> float | None:
    """A cell's number, from a CSV or straight from the trainer; ``None`` where it is empty."""
    return None if value is None or value == "" else clip(float(value))


def clip(value: float) -> float:
    """MLflow stores NaN, but no infinity: it makes them the largest float, so do it before comparing."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(value))) if value == value else float(value)
