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
class Claim:
    """A judged claim; all text, what it does not have is empty."""

    texts: Mapping[str, str]

    @property
    def name(self) -> str:
        """Its id."""
        return self.texts["claim"]

    @property
    def verdict(self) -> str:
        """What was computed for it."""
        return self.texts["verdict"]

    @property
    def tone(self) -> str:
        """The verdict's colour."""
        return verdict_tone(self.verdict)

    @property
    def measured(self) -> str:
        """Our figure from the strongest scale that has one."""
        names = ("measured", "measured_bf16", "reduced")
        found = next((self.texts[name] for name in names if self.texts[name]), "")
        return f"{found} in bf16" if found and found == self.texts["measured_bf16"] else found


@dataclass(frozen=True)
class Ledger:
    """All judged claims.

    Attributes:
        evidence: The records that they were judged by.
        judged: Each claim with what is known of it and its verdict.
        frame: The same as text, a row a claim.
    """

    evidence: Evidence
    judged: Sequence[Judged]
    frame: pd.DataFrame

    @cached_property
    def claims(self) -> Sequence[Claim]:
        """The claims in the order of the paper."""
        rows = self.frame.fillna("").astype(str).to_dict("records")
        return [Claim({str(key): str(value) for key, value in row.items()}) for row in rows]

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Claims by verdict, those without a claim left out."""
        return {verdict: number for verdict, number in verdict_counts(self.frame).items() if number}

    @property
    def facts(self) -> int:
        """Facts, each of which one or several claims stand or fall with, that need no run to be contradicted."""
        return sum(count for verdict, count in fact_counts(self.frame).items() if verdict.startswith(SETTLED))

    def basis(self, verdict: str) -> str:
        """Of what is reproduced, how much needed no run; empty for other verdicts."""
        if verdict != REPRODUCED:
            return ""
        known = count(self.judged)
        return f"{known.by_arithmetic} by arithmetic on printed numbers, {known.by_training} by training"

    @property
    def counted(self) -> list[tuple[str, str]]:
        """The counts as text."""
        return [(verdict, str(count)) for verdict, count in self.counts.items()]

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
    def settled(self) -> int:
        """Claims that the log, arithmetic or the paper itself contradict, whatever is trained."""
        return sum(count for verdict, count in self.counts.items() if verdict.startswith(SETTLED))

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
    return Ledger(evidence, judged, pd.DataFrame([claim_row(evidence.config, *one) for one in judged], columns=COLUMNS))
