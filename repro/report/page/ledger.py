"""The ledger of claims for the page: the one place where the report meets ``repro.claims``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from repro.analysis import Evidence
from repro.claims import judge_claims, verdict_counts
from repro.claims.judge import fact_counts
from repro.report.vocabulary import verdict_tone

SETTLED = "contradicted"  # start of the verdicts that need no run
# The first page's headline findings, by claim; each stands with the verdict that the ledger computes.
HEADLINES = (
    "parity", "cifar10_best", "cifar100_best", "warm_restarts_cifar10", "cifar10_stable_after_100",
    "unique_values_cifar10", "ablation_largest", "table5_own_run", "training_time",
)  # fmt: skip
SHOWN_HEADLINES = 8


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
    def figures(self) -> str:
        """What it is compared with, such as ``paper 15 levels, authors' log 12 levels``."""
        decided = self.texts["measured"] or self.texts["measured_bf16"]
        texts = {"paper": self.texts["paper"], "authors' log": self.texts["authors_log"], "measured": decided}
        return ", ".join(f"{title} {text}" for title, text in texts.items() if text)

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
        frame: What ``repro.claims.judge_claims`` returns.
    """

    frame: pd.DataFrame

    @cached_property
    def claims(self) -> Sequence[Claim]:
        """The claims in the order of the paper."""
        rows = self.frame.fillna("").astype(str).to_dict("records")
        return [Claim({str(key): str(value) for key, value in row.items()}) for row in rows]

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Claims by verdict, those without a claim left out."""
        return {verdict: count for verdict, count in verdict_counts(self.frame).items() if count}

    @property
    def facts(self) -> int:
        """Facts, each of which one or several claims stand or fall with, that need no run to be contradicted."""
        return sum(count for verdict, count in fact_counts(self.frame).items() if verdict.startswith(SETTLED))

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
    def settled(self) -> int:
        """Claims that the log, arithmetic or the paper itself contradict, whatever is trained."""
        return sum(count for verdict, count in self.counts.items() if verdict.startswith(SETTLED))

    @property
    def headlines(self) -> Sequence[Claim]:
        """The headline findings."""
        found = {claim.name: claim for claim in self.claims}
        return [found[name] for name in HEADLINES if name in found][:SHOWN_HEADLINES]


def read_ledger(evidence: Evidence) -> Ledger:
    """Judge every claim by the records."""
    return Ledger(judge_claims(evidence))
