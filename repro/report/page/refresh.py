"""What the repository shows of the records before anything is run: README's findings, docs/ and the example figures."""

import re
from collections.abc import Mapping
from pathlib import Path

from repro.analysis import load_evidence
from repro.claims.rules import MEANINGS
from repro.config import Config
from repro.errors import ReproError
from repro.records import atomic_write
from repro.report.page.build import Report, make_report, render
from repro.report.text import markdown_table
from repro.report.vocabulary import ARXIV, CELLS, TITLE

README, FINDINGS, DEMO, EXAMPLES = "README.md", "docs/FINDINGS.md", "docs/report.html", "report/example"
SHOWN = ("statements", "figure3")  # figures that README and the findings show
MARKERS = ("<!-- findings: written by `python -m repro refresh` -->", "<!-- end of findings -->")


def refresh(config: Config, results: Path, project: Path) -> list[Path]:
    """Write what is not current.

    Args:
        config: The registry of experiments and scales.
        results: Folder of the records.
        project: The repository's root.

    Returns:
        The files that were written, relative to the root.

    Raises:
        ReproError: If the README lacks the markers between which its findings stand.
        StorageError: If a file cannot be written.
    """
    written = []
    for name, content in generated(config, results, project).items():
        path = project / name
        if not path.exists() or path.read_bytes() != content:
            atomic_write(path, content)
            written.append(Path(name))
    return written


def generated(config: Config, results: Path, project: Path) -> dict[str, bytes]:
    """Every generated file with the content that the records give it, by its path in the repository."""
    report = make_report(load_evidence(config, results))
    if not (project / README).is_file():
        raise ReproError(f"{project / README}: not there; run this in a clone of the repository, or name it: --project")
    files = {f"{EXAMPLES}/{name}.png": report.drawings[name][0].png for name in SHOWN}
    texts = {
        README: readme_with(report, (project / README).read_text(encoding="utf-8")),
        FINDINGS: findings_markdown(report),
        DEMO: render(report, files=False, findings="FINDINGS.md"),
    }
    return files | {name: text.encode() for name, text in texts.items()}


def readme_with(report: Report, readme: str) -> str:
    """The README with its findings replaced."""
    start, end = MARKERS
    if readme.count(start) != 1 or readme.count(end) != 1:
        raise ReproError(f"{README}: needs the lines {start!r} and {end!r}, once each, around its findings")
    body = "\n\n".join([
        f"**{report.story.headline}**",
        f"![{_alt(report)}](report/example/statements.png)",
        report.ledger.readme.strip(),
        f"Each verdict with its evidence: the [demo page]({DEMO}) (save it and open it in a browser), "
        f"[{FINDINGS}]({FINDINGS}), or `python -m repro report`.",
    ])  # fmt: skip
    return re.sub(f"{re.escape(start)}.*{re.escape(end)}", lambda _: f"{start}\n{body}\n{end}", readme, flags=re.DOTALL)


def findings_markdown(report: Report) -> str:
    """The findings in prose: the answers, then what holds, what does not, what stays open."""
    ledger = report.ledger
    tones = {"What holds": ("good",), "What does not": ("bad", "clash"), "What is undecided within noise": ("doubt",)}
    found = {title: [claim for claim in ledger.claims if claim["tone"] in kinds] for title, kinds in tones.items()}
    waiting = len(ledger.claims) - sum(map(len, found.values()))
    lines = [
        "# Findings",
        f"On “{TITLE}” ([arXiv {ARXIV}](https://arxiv.org/abs/{ARXIV})). "
        "Written by `python -m repro refresh` from the records and the ledger; nothing here was typed in.",
        f"**{report.story.headline}**",
        markdown_table(("question", "answer"), report.story.answers.items()),
        CELLS,
        f"![{_alt(report)}](../report/example/statements.png)",
        "## How to read a verdict",
        "A claim is one statement of the paper; claims that stand or fall together are one fact. A verdict is "
        "computed. “Has to be” names what the claim allows: the printed value with this suite's tolerance and why.",
        "\n".join(f"- *{verdict}*: {meaning}" for verdict, meaning in MEANINGS.items()),
        *(line for title, claims in found.items() if claims
          for line in (f"## {title}", "\n".join(map(_claim, claims)))),
        "## What stays open",
        f"{waiting} of {len(ledger.claims)} claims wait for runs of the paper's length, or cannot be tested here. "
        "A claim that is not measured yet is neither refuted nor confirmed: the method may do all that the paper says.",
        "![Test accuracy over epochs](../report/example/figure3.png)",
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def _claim(claim: Mapping[str, str]) -> str:
    reason = f": {claim['reason']}" if claim["reason"] else ""
    return f"- {claim['statement']} ({claim['place']}). *{claim['verdict']}*{reason}"


def _alt(report: Report) -> str:
    return f"{report.picture.about.title}: dots on one axis a statement"
