"""The report as one Markdown file, for a code host that shows no HTML. It says what the page says."""

import pandas as pd

from repro.report.parts import Part, Report
from repro.report.present import markdown_table
from repro.report.views import FigureView, TableView


def report_markdown(report: Report) -> str:
    """The whole report; its links and pictures are relative to its own folder."""
    lines = [
        "# Reproduction of “True 4-Bit Quantized CNN Training on CPU”",
        f"The question: {report.question} {report.how_to_read}",
        *(f"> **{text}**" for text in report.warnings),
        "\n".join(f"- {text}" for text in report.scales),
        _verdicts(report),
        *(text for part in report.parts for text in _part(part)),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _verdicts(report: Report) -> str:
    if not report.ledger.claims:
        return ""
    counts = pd.DataFrame(report.ledger.counts.items(), columns=["verdict", "claims"]).astype(str)
    return f"The {len(report.ledger.claims)} claims of the paper, by verdict:\n\n{markdown_table(counts)}"


def _part(part: Part) -> list[str]:
    return [f"## {part.title}", *map(_table, part.tables), *map(_figure, part.figures)]


def _table(view: TableView) -> str:
    notes = [f"Scale {section.scale}: {section.remark}." for section in view.sections if section.scale]
    files = _files(f"tables/{view.name}", ("csv", "tex"))
    caption = " ".join([view.entry.caption, *notes])
    return f"### {view.entry.title}\n\n{caption}\n\n{markdown_table(view.shown)}\n\n{files}"


def _figure(view: FigureView) -> str:
    alt = view.alt.replace("[", "(").replace("]", ")")
    files = _files(f"figures/{view.name}", ("svg", "png", "csv", "tex"))
    picture = f"![{alt}](figures/{view.name}.png)"
    return f"### {view.entry.title}\n\n{picture}\n\n{view.entry.caption}{view.notes}\n\n{files}"


def _files(path: str, kinds: tuple[str, ...]) -> str:
    return "Files: " + ", ".join(f"[{kind.upper()}]({path}.{kind})" for kind in kinds)
