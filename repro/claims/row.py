"""A judged claim as a row of text."""

from repro.analysis import in_bf16
from repro.claims.claim import Claim, Findings, Measured, Measurement
from repro.claims.combine import decide
from repro.claims.rules import BOUNDS, Judgement
from repro.config import Config

COLUMNS = (
    "claim", "fact", "section", "place", "statement", "kind", "paper", "authors_log", "measured", "measured_bf16",
    "reduced", "verdict", "decided_by", "reason", "beside",
)  # fmt: skip


def claim_row(config: Config, claim: Claim, findings: Findings, judgement: Judgement) -> dict[str, str]:
    """The row of ``judge.judge_claims``."""
    by_arithmetic = {in_bf16(config, one.scale): one for one in reversed(findings.measured)}
    fp32, bf16 = by_arithmetic.get(False), by_arithmetic.get(True)
    return {
        "claim": claim.id,
        "fact": claim.fact,
        "section": claim.section,
        "place": claim.place,
        "statement": claim.statement,
        "kind": claim.kind,
        "paper": paper_text(claim),
        "authors_log": claim.with_unit(claim.show(findings.log.low)) if findings.log else "",
        "measured": _measured_text(claim, fp32) if fp32 else "",
        "measured_bf16": _measured_text(claim, bf16) if bf16 else "",
        "reduced": _reduced_text(claim, findings.reduced) if findings.reduced else "",
        "verdict": judgement.verdict,
        "decided_by": judgement.decided_by,
        "reason": judgement.reason,
        "beside": bf16.bf16 if bf16 else "",
    }


def paper_text(claim: Claim) -> str:
    """What the paper has, in words; empty where it prints no value."""
    if claim.value is None:
        return ""
    ends = dict.fromkeys((claim.value.low, claim.value.high))
    digits = claim.value.digits
    texts = [f"{end:,.{digits}f}" if end >= 10_000 else f"{end:.{digits}f}".replace("-", "−") for end in ends]
    return BOUNDS.get(claim.rule, "") + claim.with_unit("–".join(texts))


def selection(claim: Claim, found: Measurement) -> str:
    """The epoch at which an accuracy is read; empty for other figures."""
    if claim.query is None:
        return ""
    if found.after_training:
        return "at the epoch whose weights PTQ took"
    epoch = claim.query.arguments.get("epoch")
    at = {"best_test_accuracy": "best epoch", "final_test_accuracy": "last epoch",
          "test_accuracy_at": f"at the paper's epoch {epoch} or the same share of a shorter run"}  # fmt: skip
    return at.get(claim.query.name, "")


def _measured_text(claim: Claim, measured: Measured) -> str:
    """The figure with its 90 % interval, how well the spread is known, and the test set's error apart from it."""
    decision = decide(claim, measured)
    found = decision.shown
    half, about = "", [f"n = {len(found.values)}"]
    if found.spread is None:
        about.append("spread unknown")
    elif found.spread.deviation and found.spread.degrees < float("inf"):
        half = f" ± {claim.show(found.half_width(decision.choices, single=claim.single) or 0.0)}"
        about.append(f"{found.spread.source}, df {found.spread.degrees:g}")
    if found.error == found.error:
        about.append(f"SE of the test images {claim.show(found.error)}")
    if rule := selection(claim, found):
        about.append(rule)
    if decision.choices > 1:
        about.append(f"corrected for {decision.choices} readings")
    if found.lost:
        about.append(f"{found.lost} more diverged before it")
    if found.diverged:
        about.append(f"{found.diverged} diverged")
    return f"{claim.with_unit(claim.show(found.mean) + half)} ({', '.join(about)})"


def _reduced_text(claim: Claim, measured: Measured) -> str:
    found = decide(claim, measured).shown
    return f"{_measured_text(claim, measured)} at scale {found.scale} on {found.data}: {found.runs}"
