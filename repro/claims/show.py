"""The ledger as plain text, for ``python -m repro claims``."""

import textwrap

import pandas as pd

from repro.claims.judge import fact_counts, verdict_counts

WIDTH = 110
INDENT = "    "
LEGEND = textwrap.fill(
    "± is half the 90 % interval, two one-sided tests at 0.05, by which verdicts are given; df: degrees of freedom of "
    "the spread between seeds; SE: binomial standard error of the test images, which decides nothing.",
    WIDTH,
)


def format_claims(frame: pd.DataFrame) -> str:
    """Claims by section of the paper, each with its figures, verdict and reason, and the counts at the end.

    Args:
        frame: From ``judge_claims``.
    """
    lines = []
    for section, rows in frame.groupby("section", sort=False):
        lines += [str(section), "-" * len(str(section))]
        for row in rows.to_dict("records"):
            lines += _claim_lines({str(key): str(value) for key, value in row.items()})
        lines.append("")
    facts = fact_counts(frame)
    lines.append(f"{len(frame)} claims of {frame['fact'].nunique()} facts (claims that stand or fall together are one)")
    lines.append("claims  facts  verdict")
    lines += [f"{count:6d}  {facts[verdict]:5d}  {verdict}" for verdict, count in verdict_counts(frame).items()]
    lines.append(LEGEND)
    return "\n".join(lines) + "\n"


def _claim_lines(row: dict[str, str]) -> list[str]:
    figures = {"paper": row["paper"], "authors' log": row["authors_log"], "measured": row["measured"],
               "measured in bf16": row["measured_bf16"], "smaller scale": row["reduced"]}  # fmt: skip
    shown = " | ".join(f"{name} {text}" for name, text in figures.items() if text)
    first = f"[{row['verdict']}] {row['statement']} ({row['place']})"
    return [
        *textwrap.wrap(first, WIDTH, subsequent_indent=INDENT),
        *textwrap.wrap(shown, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT + "  "),
        *textwrap.wrap(row["reason"], WIDTH, initial_indent=INDENT, subsequent_indent=INDENT + "  "),
    ]
