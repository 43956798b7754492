"""The report: tables and figures as files, one page that holds them all, and the same as Markdown."""

from collections.abc import Iterable
from pathlib import Path

import jinja2
import pandas as pd

import repro
from repro.analysis import Evidence, load_evidence
from repro.config import Config
from repro.records import atomic_write
from repro.report.labels import scale_remark
from repro.report.ledger import CLAIMS
from repro.report.markdown import report_markdown
from repro.report.overview import HOW_TO_READ, QUESTION, scale_notes, warnings
from repro.report.parts import Report, group_parts
from repro.report.present import figure_to_latex, to_latex, to_markdown
from repro.report.registry import FIGURES, TABLES, FigureEntry, TableEntry
from repro.report.style import inline_svg, to_bytes
from repro.report.views import FigureView, TableView, ledger_view, table_view


def build_report(config: Config, results: str | Path, output: str | Path) -> Path:
    """Build ``index.html``, ``report.md``, ``tables/`` and ``figures/`` from the records.

    Args:
        config: The registry of experiments and scales; its scale is the one shown where nothing was run.
        results: Folder of the records; it need not exist.
        output: Folder to write to; it is made.

    Returns:
        The page's path.

    Raises:
        StorageError: If a file cannot be written.
    """
    output = Path(output)
    evidence = load_evidence(config, results)
    tables = [_write_table(evidence, name, entry, output / "tables") for name, entry in TABLES.items()]
    figures = [_write_figure(evidence, name, entry, output / "figures") for name, entry in FIGURES.items()]
    claims = next(view for view in tables if view.name == CLAIMS)
    report = Report(
        question=QUESTION,
        how_to_read=HOW_TO_READ,
        warnings=list(warnings(evidence)),
        scales=list(scale_notes(evidence)),
        ledger=ledger_view(claims.frame),
        parts=group_parts(tables, figures),
    )
    page = output / "index.html"
    atomic_write(page, _render(report))
    atomic_write(output / "report.md", report_markdown(report))
    return page


def _write_table(evidence: Evidence, name: str, entry: TableEntry, folder: Path) -> TableView:
    frame = entry.build(evidence)
    shown = entry.show(frame)
    caption = f"{entry.caption}{_table_notes(evidence, shown)}"
    atomic_write(folder / f"{name}.csv", frame.to_csv(index=False))
    atomic_write(folder / f"{name}.md", to_markdown(shown, entry.title, caption))
    atomic_write(folder / f"{name}.tex", to_latex(shown, name, entry.title, caption))
    return table_view(evidence, name, entry, frame, shown)


def _table_notes(evidence: Evidence, shown: pd.DataFrame) -> str:
    """The page says at each group of rows what its scale is; a file that travels alone says it in its caption."""
    return "" if shown.index.nlevels == 1 else _scale_notes(evidence, shown.index.get_level_values("scale"))


def _scale_notes(evidence: Evidence, scales: Iterable[str]) -> str:
    known = dict.fromkeys(scale for scale in scales if scale)
    return "".join(f" Scale {scale}: {scale_remark(evidence.config, scale)}." for scale in known)


def _write_figure(evidence: Evidence, name: str, entry: FigureEntry, folder: Path) -> FigureView:
    frame = entry.data(evidence)
    figure = entry.draw(frame)
    svg = to_bytes(figure, "svg")
    notes = _scale_notes(evidence, frame["scale"])
    atomic_write(folder / f"{name}.csv", frame.to_csv(index=False))
    atomic_write(folder / f"{name}.svg", svg)
    atomic_write(folder / f"{name}.png", to_bytes(figure, "png"))
    atomic_write(folder / f"{name}.tex", figure_to_latex(name, entry.title, f"{entry.caption}{notes}"))
    panels = "; ".join(dict.fromkeys(frame["panel"]))
    return FigureView(name, entry, inline_svg(svg, name), f"{entry.alt} Panels: {panels}.", notes)


def _render(report: Report) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.j2").render(report=report, version=repro.__version__)
