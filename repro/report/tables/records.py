"""Plain lists: what was run, on what, and which records were set aside."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from repro.analysis import Evidence, after_training, scale_order
from repro.records import COMPLETED, DIVERGED
from repro.report.cells import NOT_RUN
from repro.report.text import EMPTY, number
from repro.report.vocabulary import counted


@dataclass(frozen=True)
class Listing:
    """A list of the report: its CSV, and the columns of it that a reader sees.

    Attributes:
        name: File name, and place in the page.
        title: Heading.
        caption: What it lists.
        frame: All of it.
        show: What of it is shown, as text, with the evidence at hand; all of it by default.
        when_empty: The page shows it also where there is nothing in it.
    """

    name: str
    title: str
    caption: str
    frame: Callable[[Evidence], pd.DataFrame]
    show: Callable[[Evidence, pd.DataFrame], pd.DataFrame] = lambda _, frame: _spaced(frame.astype(str))
    when_empty: bool = True


def _spaced(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=lambda name: name.replace("_", " "))


def coverage(evidence: Evidence) -> pd.DataFrame:
    """Runs by scale: completed, diverged, not run; hours and machines. A shared run counts once."""
    rows = []
    for scale in scale_order(evidence.config):
        planned = list(evidence.states.loc[evidence.states["scale"] == scale, "status"])
        found = evidence.runs[evidence.runs["scale"] == scale]
        runs = found.drop_duplicates("run")
        rows.append({
            "scale": scale,
            "runs": len(planned),
            **{state.replace(" ", "_"): planned.count(state) for state in (COMPLETED, DIVERGED, NOT_RUN)},
            "seeds": " ".join(map(str, sorted(found["seed"].unique()))),
            "data": " ".join(sorted(found["data"].unique())),
            "hours": round(float((runs["wall_seconds"] - runs["shared_seconds"]).sum()) / 3600, 3),
            "machines": "; ".join(f"{name} ({count})" for name, count in runs["platform"].value_counts().items()),
            "about": evidence.config.scales[scale].description,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _show_coverage(_: Evidence, frame: pd.DataFrame) -> pd.DataFrame:
    return _spaced(frame.assign(hours=_numbers(frame["hours"], 1, 1)).astype(str).replace("", EMPTY))


def _show_runs(evidence: Evidence, frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of the runs that a reader looks for first."""

    def joined(first: str, second: str, between: str) -> list[str]:
        pairs = zip(frame[first], frame[second], strict=True)
        return [between.join(dict.fromkeys(filter(None, pair))) for pair in pairs]

    after = {name for name in evidence.config.experiments if after_training(evidence.config, name)}
    trained = ~frame["experiment"].isin(after)  # else there is no best epoch
    columns = {
        "scale": frame["scale"],
        "experiment": frame["experiment"],
        "seed": frame["seed"],
        "served by": frame["path"],
        "data": frame["data"],
        "status": joined("status", "reason", ": "),
        "best (%)": _numbers(frame["best_test_accuracy"].where(trained), 100, 2),
        "last (%)": _numbers(frame["final_test_accuracy"], 100, 2),
        "best epoch": _numbers(frame["best_test_epoch"].where(trained), 1, 0),
        "epochs": [f"{run:.0f} of {of:.0f}" for run, of in zip(frame["epochs_run"], frame["epochs"], strict=True)],
        "device": joined("device", "device_name", " "),
        "commit": frame["commit"].replace("", EMPTY),
    }
    return pd.DataFrame(columns).astype(str)


def _numbers(values: pd.Series, factor: float, digits: int) -> list[str]:
    return [EMPTY if value != value else number(value * factor, digits) for value in values]  # NaN differs from itself


def set_aside(evidence: Evidence) -> str:
    """That records stand in no table, and how many; empty where there are none."""
    counts = {"stale": len(evidence.stale), "unreadable": len(evidence.unreadable)}
    kinds = " and ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    words = f"{counted(sum(counts.values()), 'record')} set aside, in no table: {kinds}; they are listed under Records."
    return words if kinds else ""


LISTINGS = (
    Listing(
        "coverage",
        "Evidence by scale",
        "Runs that each scale asks for. One that serves several experiments counts once; a diverged run is a result.",
        coverage,
        _show_coverage,
    ),
    Listing(
        "runs",
        "Runs used",
        "Every experiment, scale, seed and machine with a record, and the folder under results/ of its run.",
        lambda evidence: pd.concat([evidence.runs, evidence.repeats], ignore_index=True),
        _show_runs,
    ),
    Listing(
        "stale",
        "Stale records",
        "Records that serve no experiment as it stands, or whose run has one; repeats on other machines stand in table "
        "V and the cost alone.",
        lambda evidence: evidence.stale,
    ),
    Listing(
        "unreadable", "Unreadable records", "Records that could not be read.", lambda evidence: evidence.unreadable
    ),
    Listing(
        "failed",
        "Failed runs",
        "Runs without a record whose log ends in an error: the last lines of each.",
        lambda evidence: evidence.failed,
        when_empty=False,
    ),
)
