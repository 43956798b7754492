"""The ledger with its verdicts.

A verdict is computed anew from the package's data and the records each time; none is stored. In this order:

1. A claim that says why it cannot be tested is **not testable here**.
2. **contradicted by the paper's own text**: it has other words of the paper against it. A reading, not a computation.
3. **contradicted by arithmetic**: it has arithmetic, and the result disagrees.
4. **contradicted by the authors' log**: it has a log, and the log disagrees. When the log agrees, that is the author's
   measurement and not ours: it stands in its own column and settles nothing.
5. A claim that arithmetic alone decides, with neither log nor experiment, is **reproduced**: it was computed here.
6. Runs of a scale that decides (``decides: true``) give **reproduced**, **within noise** or **not reproduced** by the
   claim's rule (``repro.claims.rules``). Scales are never pooled, and a difference has both arms from one scale and
   from common seeds. Figures of named epochs are also read from runs that are the same up to there (table V's six
   epochs are the main run's own); the reason says so. Where several decide, the first that reaches a verdict counts,
   FP32 arithmetic before bfloat16; the other stands beside.
7. **not measured yet**: no such runs, or one seed whose spread nothing tells. The figure of the best smaller scale
   stands beside it and decides nothing.

A claim of several readings is reproduced if one is, its interval corrected for the choice, and not reproduced if every
one of them is refuted, so never before all have run.
"""

from typing import NamedTuple

import pandas as pd

from repro.analysis import Evidence, deciding_scales, in_bf16, scale_order
from repro.claims.arithmetic import compute
from repro.claims.bf16 import known_of_bf16
from repro.claims.claim import Call, Claim, Findings, Measured, Reading
from repro.claims.combine import decide
from repro.claims.ledger import load_claims
from repro.claims.measure import measure, rank_of_first, read_log, readings
from repro.claims.row import COLUMNS, claim_row
from repro.claims.rules import (
    AGAINST_ARITHMETIC,
    AGAINST_ITSELF,
    AGAINST_LOG,
    NOT_MEASURED,
    NOT_TESTABLE,
    REPRODUCED,
    RULES,
    VERDICTS,
    Judgement,
)
from repro.claims.runs import Runs
from repro.units import UNITS

ARITHMETIC, LOG, TEXT = "arithmetic", "authors' log", "paper's text"


class Judged(NamedTuple):
    """A claim with all that is known about it and its verdict."""

    claim: Claim
    findings: Findings
    judgement: Judgement


def judge_claims(evidence: Evidence) -> pd.DataFrame:
    """Every claim of the ledger with its verdict.

    Args:
        evidence: The records; none at all still gives every verdict that needs none.

    Returns:
        One row a claim, in the order of the paper, all columns text: ``claim`` (id), ``fact`` (what it stands or falls
        with), ``section``, ``place``, ``statement``, ``kind``, ``paper``, ``authors_log``, ``measured`` (at the paper's
        length, FP32 arithmetic), ``measured_bf16`` (the same in bfloat16), ``reduced`` (the best smaller scale, named),
        ``verdict``, ``decided_by`` (see ``rules.Judgement``), ``reason``, ``beside`` (with runs in bfloat16, what is
        known of it against FP32). What there is not is empty.
    """
    rows = [claim_row(evidence.config, *judged) for judged in judge_all(evidence)]
    return pd.DataFrame(rows, columns=COLUMNS)


def judge_all(evidence: Evidence) -> list[Judged]:
    """The same with its figures as numbers: every claim, what is known of it, and its verdict."""
    runs = Runs(evidence)
    found = [(claim, find(claim, runs)) for claim in load_claims()]
    return [Judged(claim, findings, judge(claim, findings)) for claim, findings in found]


def verdict_counts(frame: pd.DataFrame) -> dict[str, int]:
    """Claims by verdict, every verdict in the order of ``VERDICTS``."""
    return {verdict: int((frame["verdict"] == verdict).sum()) for verdict in VERDICTS}


def fact_counts(frame: pd.DataFrame) -> dict[str, int]:
    """Facts by verdict: claims that stand or fall together count once. One fact can stand under several verdicts."""
    return {verdict: int(frame.loc[frame["verdict"] == verdict, "fact"].nunique()) for verdict in VERDICTS}


def find(claim: Claim, runs: Runs) -> Findings:
    """Everything that the package's data and the records say about a claim."""
    if claim.untestable:
        return Findings()
    config = runs.evidence.config
    deciding = deciding_scales(config)
    measured = [_measured(claim, runs, scale) for scale in deciding]
    reduced = (_measured(claim, runs, scale) for scale in scale_order(config) if scale not in deciding)
    return Findings(
        arithmetic=_in_unit(claim, claim.arithmetic),
        log=read_log(claim),
        measured=tuple(found for found in measured if found.found),
        reduced=next((found for found in reduced if found.found), None),
    )


def _measured(claim: Claim, runs: Runs, scale: str) -> Measured:
    if not claim.experiments:
        return Measured(scale, ())
    config = runs.evidence.config
    bf16 = known_of_bf16(claim, runs, scale) if in_bf16(config, scale) else ""
    if claim.combine == "rank_of_first":
        rank = rank_of_first(claim, runs, scale)
        return Measured(scale, (rank,) if rank else (), bf16=bf16)
    found, missing = [], []
    for reading in readings(claim):
        measurement = measure(claim, runs, scale, reading)
        if measurement is None:  # no runs, no seed that all arms have, or none with the figure
            missing.append(reading.describe(config, scale))
        else:
            found.append(measurement)
    return Measured(scale, tuple(found), tuple(missing), bf16)


def _in_unit(claim: Claim, call: Call | None) -> Reading | None:
    if call is None:
        return None
    result, factor = compute(call), UNITS[claim.unit][0]
    return Reading(result.low * factor, result.high * factor, result.how)


def judge(claim: Claim, findings: Findings) -> Judgement:
    """One claim by the order of the module's rules."""
    judgement = _judge(claim, findings)
    beside = f"beside it: {compute(claim.beside).how}" if claim.beside else ""
    reason = "; ".join(part for part in (judgement.reason, beside, claim.note) if part)
    return Judgement(judgement.verdict, reason, judgement.decided_by)


def _judge(claim: Claim, findings: Findings) -> Judgement:
    if claim.untestable:
        return Judgement(NOT_TESTABLE, claim.untestable)
    if claim.against:
        return Judgement(AGAINST_ITSELF, claim.against, TEXT)
    rule = RULES[claim.rule]
    for reading, verdict, by in (
        (findings.arithmetic, AGAINST_ARITHMETIC, ARITHMETIC),
        (findings.log, AGAINST_LOG, LOG),
    ):
        if reading is not None and not rule.agrees(claim, reading):
            return Judgement(verdict, reading.how, by)
    if findings.arithmetic is not None and not claim.log and not claim.experiments:
        return Judgement(REPRODUCED, f"computed: {findings.arithmetic.how}", ARITHMETIC)
    judgements = [judge_runs(claim, measured) for measured in findings.measured]
    decided = next((found for found in judgements if found.verdict != NOT_MEASURED), None)
    if decided is not None:
        return decided
    reasons = [found.reason for found in judgements] or [
        "no run at the paper's length" if claim.experiments else "nothing here measures it"
    ]
    if findings.arithmetic is not None:
        reasons.append(f"arithmetic agrees ({findings.arithmetic.how})")
    if findings.log is not None:
        reasons.append("the authors' log agrees")
    return Judgement(NOT_MEASURED, "; ".join(reasons))


def judge_runs(claim: Claim, measured: Measured) -> Judgement:
    """The verdict of the runs of one scale that decides."""
    decision = decide(claim, measured)
    judgement, runs = decision.judgement, f"{decision.shown.runs} at scale {measured.scale}"
    reason = "; ".join(part for part in (judgement.reason, runs, measured.bf16) if part)
    by = measured.scale if judgement.verdict != NOT_MEASURED else ""
    return Judgement(judgement.verdict, reason, by)
