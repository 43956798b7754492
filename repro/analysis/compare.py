"""Two experiments or runs side by side, as text."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repro.analysis.evidence import Evidence
from repro.analysis.stats import CONFIDENCE, Estimate, paired_difference
from repro.config import Plan
from repro.errors import ReproError

MOST_EPOCHS = 12  # of the curves that are shown
# Column of ``Evidence.runs``, its title, factor and decimals
FIGURES = (
    ("best_test_accuracy", "test accuracy, best epoch (%)", 100, 2),
    ("final_test_accuracy", "test accuracy, last epoch (%)", 100, 2),
    ("final_train_accuracy", "train accuracy, last epoch (%)", 100, 2),
    ("epochs_run", "epochs", 1, 0),
    ("final_levels_min", "fewest levels in use of a layer", 1, 0),
    ("packed_bytes", "packed size (bytes)", 1, 0),
    ("wall_seconds", "time (s)", 1, 0),
)
CURVES = ("train_loss", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Side:
    """What is compared.

    Attributes:
        title: How it is named.
        settings: Its settings, such as ``quantizer.name``, to their values.
        runs: Its rows of ``Evidence.runs``, indexed by seed.
        epochs: Their rows of ``Evidence.epochs``.
    """

    title: str
    settings: Mapping[str, Any]
    runs: pd.DataFrame
    epochs: pd.DataFrame


def find_side(evidence: Evidence, text: str, scale: str, results: Path) -> Side:
    """The runs that a text names: an experiment, ``NAME:SEED``, or a run's folder.

    Args:
        evidence: All records.
        text: The name.
        scale: Scale of a named experiment.
        results: Folder of the records.

    Raises:
        ReproError: If nothing of that name has been run.
    """
    folder, seed = Path(text), None
    if (folder / "record.json").exists():
        rows = evidence.runs[[(results / path).resolve() == folder.resolve() for path in evidence.runs["path"]]]
        if rows.empty:
            raise ReproError(f"{folder}: no current record below {results}; `python -m repro report` lists stale ones")
        scale, name, seed = (rows.iloc[0][key] for key in ("scale", "experiment", "seed"))
    else:
        named = re.fullmatch(r"(\w+)(?::(\d+))?", text)
        if named is None:
            raise ReproError(f"{text!r} is neither an experiment, NAME:SEED, nor the folder of a run")
        name, seed = named[1], None if named[2] is None else int(named[2])
    spec = Plan(evidence.config, scale).run(name, 0).spec
    runs = evidence.select(scale, name)
    if seed is not None:
        runs = runs[runs.index == seed]
    if runs.empty:
        which = f"{name}{'' if seed is None else f' seed {seed}'} at scale {scale}"
        command = f"python -m repro train {name} --scale {scale}{'' if seed is None else f' --seed {seed}'}"
        raise ReproError(f"{which} has no record; `{command}` makes one")
    epochs = evidence.epochs
    mine = (epochs["scale"] == scale) & (epochs["experiment"] == name) & epochs["seed"].isin(runs.index)
    title = f"{name} at scale {scale}, seed{'s' * (len(runs) > 1)} {', '.join(map(str, runs.index))}"
    return Side(title, dict(_flat(json.loads(json.dumps(spec)))), runs, epochs[mine])


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            yield from _flat(entry, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", entry


def compare(a: Side, b: Side) -> str:
    """Settings that differ, figures, curves and the paired difference, as text."""
    from tabulate import tabulate

    def table(rows: list[tuple[str, ...]], *headers: str) -> str:
        align = ("left", *["right"] * (len(headers) - 1))
        return str(tabulate(rows, headers=headers, disable_numparse=True, colalign=align))

    names = sorted(a.settings.keys() | b.settings.keys())
    settings = [(name, *(str(side.settings.get(name, "–")) for side in (a, b))) for name in names
                if a.settings.get(name) != b.settings.get(name)]  # fmt: skip
    figures = []
    for key, title, *form in FIGURES:
        means = [_mean(side.runs[key], *form) for side in (a, b)]
        if any(means):
            figures.append((title, *means, _difference(a, b, key, *form)))
    interval = (
        f"means over seeds; A − B over common seeds, ± half its {100 * CONFIDENCE:g} % interval, from two seeds on"
    )
    return "\n\n".join([
        f"A: {a.title}\nB: {b.title}",
        table(settings, "setting that differs", "A", "B") if settings else "no setting differs",
        f"{table(figures, 'figure', 'A', 'B', 'A − B')}\n({interval})",
        table(_curves(a, b), "epoch", *(f"{name.replace('_', ' ')} {side}" for name in CURVES for side in "AB")),
    ])  # fmt: skip


def _number(value: float, digits: int, sign: str = "") -> str:
    return "" if np.isnan(value) else f"{value:{sign},.{digits}f}".replace("-", "−")


def _mean(values: pd.Series, factor: float, digits: int) -> str:
    return _number(float(values.mean()) * factor, digits)


def _difference(a: Side, b: Side, key: str, factor: float, digits: int) -> str:
    found: Estimate = paired_difference(a.runs[key], b.runs[key])
    if not found.n:
        return "no common seed"
    half = (found.high - found.value) * factor
    return _number(found.value * factor, digits, "+") + (f" ± {half:,.{digits}f}" if half == half else "")


def _curves(a: Side, b: Side) -> list[tuple[str, ...]]:
    """Some epochs, evenly spaced from the first to the last of either."""
    means = [side.epochs.groupby("epoch")[list(CURVES)].mean() for side in (a, b)]
    epochs = sorted(set().union(*(mean.index for mean in means)))
    places = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), MOST_EPOCHS)).round().astype(int))
    rows = []
    for epoch in (epochs[place] for place in places):
        cells = [_cell(mean, epoch, name) for name in CURVES for mean in means]
        rows.append((f"{epoch:.0f}", *cells))
    return rows


def _cell(mean: pd.DataFrame, epoch: float, name: str) -> str:
    value = float(mean[name].get(epoch, np.nan))
    return _number(100 * value, 2) if name.endswith("accuracy") else _number(value, 4)
