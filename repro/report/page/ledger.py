"""The ledger of claims for the page: the one place where the report meets ``repro.claims``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from repro.analysis import Evidence
from repro.claims import verdict_counts
from repro.claims.findings import Headline, count, headlines, length_warning, readme_findings
from repro.claims.judge import Judged, fact_counts, judge_all
from repro.claims.row import COLUMNS, claim_row
from repro.claims.rules import REPRODUCED
from repro.report.vocabulary import verdict_tone

SETTLED = "contradicted"  # start of the verdicts that need no run
MOST_HEADLINES = 8


@dataclass(frozen=True)
class Ledger:
    """All judged claims.

    Attributes:
        evidence: The records that they were judged by.
        judged: Each claim with what is known of it and its verdict, in the order of the paper.
        claims: The same as text; what a claim does not have is empty.
        frame: The columns of ``claim_row``, a row a claim.
    """

    evidence: Evidence
    judged: Sequence[Judged]
    claims: Sequence[Mapping[str, str]]
    frame: pd.DataFrame

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Claims by verdict, those without a claim left out."""
        return {verdict: number for verdict, number in verdict_counts(self.frame).items() if number}

    def basis(self, verdict: str) -> str:
        """Of what is reproduced, how much needed no run; empty for other verdicts."""
        if verdict != REPRODUCED:
            return ""
        known = count(self.judged)
        trained = f"{known.by_training} by training as long as the paper's"
        return f"{known.by_arithmetic} by arithmetic on printed numbers, {trained}"

    @cached_property
    def sections(self) -> Mapping[str, Mapping[str, int]]:
        """Claims by section of the paper and verdict."""
        table = pd.crosstab(self.frame["section"], self.frame["verdict"])
        return {
            section: {verdict: int(count) for verdict in self.counts if (count := table.loc[section, verdict])}
            for section in dict.fromkeys(self.frame["section"])
        }

    @property
    def largest(self) -> int:
        """Claims of the section that has most: the width of a whole bar."""
        return max(sum(counts.values()) for counts in self.sections.values())

    @property
    def settled(self) -> list[int]:
        """Claims, and facts that they stand or fall with, contradicted by log, arithmetic or the paper itself."""
        return [sum(count for verdict, count in counts.items() if verdict.startswith(SETTLED))
                for counts in (self.counts, fact_counts(self.frame))]  # fmt: skip

    @property
    def headlines(self) -> Sequence[tuple[Headline, str]]:
        """The headline findings, each with its tone."""
        return [(one, verdict_tone(one.verdict)) for one in headlines(self.judged)[:MOST_HEADLINES]]

    @property
    def readme(self) -> str:
        """What the README says of the findings."""
        return readme_findings(self.evidence, self.judged)

    @property
    def warning(self) -> str:
        """What is missing at the paper's length."""
        return length_warning(self.evidence)


def read_ledger(evidence: Evidence) -> Ledger:
    """Judge every claim by the records."""
    judged = judge_all(evidence)
    rows = [claim_row(evidence.config, *one) for one in judged]
    return Ledger(evidence, judged, list(map(_shown, rows)), pd.DataFrame(rows, columns=COLUMNS))


def _shown(row: Mapping[str, str]) -> Mapping[str, str]:
    """A claim with the colour of its verdict and ``ours``, our figure from the strongest scale that has one."""
    ours = next(filter(None, (row[name] for name in ("measured", "measured_bf16", "reduced"))), "")
    remark = " in bf16" if ours and ours == row["measured_bf16"] else ""
    return {**row, "tone": verdict_tone(row["verdict"]), "ours": ours + remark}
