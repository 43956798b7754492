"""The ledger with its verdicts.

A verdict is computed anew from the package's data and the records each time; none is stored. In this order:

1. A claim that says why it cannot be tested is **not testable here**.
2. **contradicted by arithmetic**: it has arithmetic, and the result disagrees.
3. **contradicted by the authors' log**: it has a log, and the log disagrees. When the log agrees, that is the author's
   measurement and not ours: it stands in its own column and settles nothing.
4. A claim that arithmetic alone decides, with neither log nor experiment, is **reproduced**: it was computed here.
5. Runs at scale ``paper`` give **reproduced**, **within noise** or **not reproduced** by the claim's rule
   (``repro.claims.rules``): for a number, the mean within the tolerance; else the 95 % interval containing the claim.
   A number that one run alone misses stays **not measured yet**: a refutation needs the spread over seeds.
6. **not measured yet**: no such runs. The figure of the best smaller scale stands beside it and decides nothing.
"""

from dataclasses import dataclass

import pandas as pd

from repro.analysis import Evidence, scale_order
from repro.claims.arithmetic import compute
from repro.claims.claim import UNITS, Claim, Measurement, Reading
from repro.claims.ledger import load_claims
from repro.claims.measure import Runs, measure, read_log
from repro.claims.rules import (
    AGAINST_ARITHMETIC,
    AGAINST_LOG,
    BOUNDS,
    NOT_MEASURED,
    NOT_TESTABLE,
    REPRODUCED,
    RULES,
    VERDICTS,
    Judgement,
)

PAPER = "paper"
COLUMNS = (
    "claim", "section", "place", "statement", "kind", "paper", "authors_log", "measured", "reduced", "verdict",
    "reason",
)  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """All that is known about a claim.

    Attributes:
        arithmetic: Result of its arithmetic, in its unit.
        log: Figure of the authors' log.
        measured: Figure of the runs at scale ``paper``.
        reduced: Figure of the runs at the next scale that has any.
    """

    arithmetic: Reading | None = None
    log: Reading | None = None
    measured: Measurement | None = None
    reduced: Measurement | None = None


def judge_claims(evidence: Evidence) -> pd.DataFrame:
    """Every claim of the ledger with its verdict.

    Args:
        evidence: The records; none at all still gives every verdict that needs none.

    Returns:
        One row a claim, in the order of the paper, all columns text: ``claim`` (id), ``section``, ``place``,
        ``statement``, ``kind``, ``paper``, ``authors_log``, ``measured`` (scale ``paper``), ``reduced`` (the best
        smaller scale, named), ``verdict``, ``reason``. What there is not is empty.
    """
    runs = Runs(evidence)
    rows = []
    for claim in load_claims():
        findings = find(claim, runs)
        judgement = judge(claim, findings)
        rows.append(_row(claim, findings, judgement))
    return pd.DataFrame(rows, columns=COLUMNS)


def verdict_counts(frame: pd.DataFrame) -> dict[str, int]:
    """Claims by verdict, every verdict in the order of ``VERDICTS``."""
    return {verdict: int((frame["verdict"] == verdict).sum()) for verdict in VERDICTS}


def find(claim: Claim, runs: Runs) -> Findings:
    """Everything that the package's data and the records say about a claim."""
    if claim.untestable:
        return Findings()
    smaller = (name for name in scale_order(runs.evidence.config) if name != PAPER)
    reduced = (measure(claim, runs, scale) for scale in smaller)
    return Findings(
        arithmetic=_arithmetic(claim),
        log=read_log(claim),
        measured=measure(claim, runs, PAPER),
        reduced=next((found for found in reduced if found is not None), None),
    )


def _arithmetic(claim: Claim) -> Reading | None:
    if claim.arithmetic is None:
        return None
    result, factor = compute(claim.arithmetic), UNITS[claim.unit][0]
    return Reading(result.low * factor, result.high * factor, result.how)


def judge(claim: Claim, findings: Findings) -> Judgement:
    """One claim by the order of the module's rules."""
    judgement = _judge(claim, findings)
    return Judgement(judgement.verdict, "; ".join(part for part in (judgement.reason, claim.note) if part))


def _judge(claim: Claim, findings: Findings) -> Judgement:
    if claim.untestable:
        return Judgement(NOT_TESTABLE, claim.untestable)
    rule = RULES[claim.rule]
    for reading, verdict in ((findings.arithmetic, AGAINST_ARITHMETIC), (findings.log, AGAINST_LOG)):
        if reading is not None and not rule.agrees(claim, reading):
            return Judgement(verdict, reading.how)
    if findings.arithmetic is not None and not claim.log and not claim.experiments:
        return Judgement(REPRODUCED, f"computed: {findings.arithmetic.how}")
    if findings.measured is not None:
        judgement = rule.measured(claim, findings.measured)
        return Judgement(judgement.verdict, f"{judgement.reason}; {findings.measured.runs}")
    reasons = ["no run at scale paper" if claim.experiments else "nothing here measures it"]
    if findings.arithmetic is not None:
        reasons.append(f"arithmetic agrees ({findings.arithmetic.how})")
    if findings.log is not None:
        reasons.append("the authors' log agrees")
    return Judgement(NOT_MEASURED, "; ".join(reasons))


def _row(claim: Claim, findings: Findings, judgement: Judgement) -> dict[str, str]:
    return {
        "claim": claim.id,
        "section": claim.section,
        "place": claim.place,
        "statement": claim.statement,
        "kind": claim.kind,
        "paper": _paper_text(claim),
        "authors_log": claim.with_unit(claim.show(findings.log.low)) if findings.log else "",
        "measured": _measured_text(claim, findings.measured) if findings.measured else "",
        "reduced": _reduced_text(claim, findings.reduced) if findings.reduced else "",
        "verdict": judgement.verdict,
        "reason": judgement.reason,
    }


def _paper_text(claim: Claim) -> str:
    if claim.value is None:
        return ""
    ends = dict.fromkeys((claim.value.low, claim.value.high))
    digits = claim.value.digits
    shown = [f"{end:,.{digits}f}" if end >= 10_000 else f"{end:.{digits}f}".replace("-", "−") for end in ends]
    return BOUNDS.get(claim.rule, "") + claim.with_unit("–".join(shown))


def _measured_text(claim: Claim, measured: Measurement) -> str:
    figure = measured.estimate
    interval = measured.interval
    half = f" ± {claim.show((interval[1] - interval[0]) / 2)}" if interval and figure.n > 1 else ""
    error = f", SE {claim.show(figure.standard_error)}" if interval and figure.n == 1 else ""
    diverged = f", {measured.diverged} diverged" if measured.diverged else ""
    return f"{claim.with_unit(claim.show(figure.value) + half)} (n = {figure.n}{error}{diverged})"


def _reduced_text(claim: Claim, measured: Measurement) -> str:
    return f"{_measured_text(claim, measured)} at scale {measured.scale} on {measured.data}: {measured.runs}"
