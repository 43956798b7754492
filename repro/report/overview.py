"""What a reader must know before any number: the question, the scales with evidence, what is missing."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from repro.analysis import Evidence, scale_order
from repro.records import DIVERGED
from repro.report.labels import PAPER_SCALE, scale_remark, seeds_label

QUESTION = (
    "does the method of arXiv 2603.13931 train a VGG-style network with 4-bit weights to the accuracy that the paper "
    "reports, close to full precision, and does each of its components help as its ablation says?"
)
HOW_TO_READ = (
    "Each part puts the paper's printed values and its author's published log beside what was measured here, "
    "with n and the uncertainty."
)


def warnings(evidence: Evidence) -> Iterator[str]:
    """What limits every number of the report."""
    found = scales_found(evidence)
    if not found:
        yield (
            "No record was found: everything measured says “not run”. "
            f"Configured scale: {evidence.config.scale} ({evidence.config.scales[evidence.config.scale].description})."
        )
    elif PAPER_SCALE not in found:
        yield "There is no run at scale paper yet: no number here confirms or refutes a measured number of the paper."
    yield from _set_aside(evidence)


def scale_notes(evidence: Evidence) -> Iterator[str]:
    """One sentence a scale with records: its data, runs, seeds and machines."""
    for scale in scales_found(evidence):
        runs = evidence.runs[evidence.runs["scale"] == scale]
        planned = evidence.planned.loc[evidence.planned["scale"] == scale, "status"]
        diverged = int((planned == DIVERGED).sum())
        yield (
            f"Scale {scale} ran on {', '.join(sorted(runs['data'].unique()))}: {scale_remark(evidence.config, scale)}. "
            f"{runs['run'].nunique()} of {len(planned)} runs{f', {diverged} of them diverged' if diverged else ''}, "
            f"{seeds_label(sorted(runs['seed'].unique()))}; {_machines(runs)}."
        )


def scales_found(evidence: Evidence) -> list[str]:
    """Scales with a record, in the report's order."""
    return [scale for scale in scale_order(evidence.config) if (evidence.runs["scale"] == scale).any()]


def _machines(runs: pd.DataFrame) -> str:
    """The devices that the runs trained on, each with its number of runs."""
    owners = runs.drop_duplicates("run")
    names = [" ".join(dict.fromkeys(pair)).strip() for pair in owners[["device", "device_name"]].to_numpy().tolist()]
    counts = Counter(names)
    return "trained on " + " and ".join(f"{name} ({count})" for name, count in counts.items())


def _set_aside(evidence: Evidence) -> Iterator[str]:
    parts = [(len(evidence.stale), "stale"), (len(evidence.unreadable), "unreadable")]
    total = sum(count for count, _ in parts)
    if total:
        kinds = " and ".join(f"{count} {kind}" for count, kind in parts if count)
        yield f"{total} record{'s' if total > 1 else ''} set aside, in no table: {kinds}. Records, below, lists them."
