"""The ledger of claims as text."""

import pandas as pd

from repro.report.present import EMPTY

CLAIMS = "claims"  # file name and place in the page
COLUMNS = {
    "claim": "claim",
    "place": "place",
    "statement": "statement",
    "paper": "paper",
    "authors_log": "authors' log",
    "measured": "measured",
    "reduced": "at a reduced scale",
    "verdict": "verdict",
    "reason": "reason",
}
FIGURES_OF_A_CLAIM = ("paper", "authors_log", "measured", "reduced")


def show_claims(frame: pd.DataFrame) -> pd.DataFrame:
    """The judged claims as a plain list of text; what a claim does not have is a dash."""
    return frame[list(COLUMNS)].replace("", EMPTY).rename(columns=COLUMNS)
