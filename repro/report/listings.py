"""Plain lists: what was run, on what, and which records were set aside."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from repro.analysis import Evidence, scale_order
from repro.report.present import EMPTY

STATES = ("completed", "diverged", "not run")


def coverage(evidence: Evidence) -> pd.DataFrame:
    """Runs by scale: found and completed, found and diverged, not run. A shared run counts once."""
    rows = []
    for scale in scale_order(evidence.config):
        planned = evidence.planned[evidence.planned["scale"] == scale]
        found = evidence.runs[evidence.runs["scale"] == scale]
        rows.append(
            {
                "scale": scale,
                "runs": len(planned),
                **{state.replace(" ", "_"): int((planned["status"] == state).sum()) for state in STATES},
                "experiments": found["experiment"].nunique(),
                "data": " ".join(sorted(found["data"].unique())),
                "seeds": " ".join(str(seed) for seed in sorted(found["seed"].unique())),
                "about": evidence.config.scales[scale].description,
            }
        )
    return pd.DataFrame(rows)


def runs_used(evidence: Evidence) -> pd.DataFrame:
    """One row an experiment, scale, seed and machine with a record; every column of ``Evidence.runs``."""
    return pd.concat([evidence.runs, evidence.repeats], ignore_index=True)


def show_coverage(frame: pd.DataFrame) -> pd.DataFrame:
    """The counts for readers."""
    shown = frame.astype(str).replace("", EMPTY)
    return shown.rename(columns={"not_run": "not run", "experiments": "experiments with a record"})


def show_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of the runs that a reader looks for first."""
    texts = [_show_run(row) for row in frame.to_dict("records")]
    columns = ["scale", "experiment", "seed", "served by", "data", "status", "last epoch (%)", "best (%)", "best epoch",
               "epochs", "device", "commit"]  # fmt: skip
    return pd.DataFrame(texts, columns=columns)


def _show_run(row: Mapping[Hashable, Any]) -> dict[str, str]:
    reason = f": {row['reason']}" if row["reason"] else ""
    return {
        "scale": str(row["scale"]),
        "experiment": str(row["experiment"]),
        "seed": str(row["seed"]),
        "served by": str(row["path"]),
        "data": str(row["data"]),
        "status": f"{row['status']}{reason}",
        "last epoch (%)": _show(row["final_test_accuracy"], 100, 2),
        "best (%)": _show(row["best_test_accuracy"], 100, 2),
        "best epoch": _show(row["best_test_epoch"], 1, 0),
        "epochs": f"{_show(row['epochs_run'], 1, 0)} of {_show(row['epochs'], 1, 0)}",
        "device": " ".join(dict.fromkeys(str(row[name]) for name in ("device", "device_name") if row[name])),
        "commit": str(row["commit"]) or EMPTY,
    }


def _show(value: float, factor: float, digits: int) -> str:
    number = value * factor
    return f"{number:.{digits}f}" if number == number else EMPTY  # NaN differs from itself


def show_plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Any list as text."""
    return frame.astype(str).rename(columns=lambda name: name.replace("_", " "))
