"""The ledger of claims: every checkable statement of the paper, each with a computed verdict.

``repro.claims.judge`` says how verdicts come about. Loads neither torch nor mlflow.
"""

from repro.claims.judge import fact_counts, judge_claims, verdict_counts
from repro.claims.ledger import ClaimsError, load_claims
from repro.claims.rules import VERDICTS
from repro.claims.show import format_claims

__all__ = ["VERDICTS", "ClaimsError", "fact_counts", "format_claims", "judge_claims", "load_claims", "verdict_counts"]
