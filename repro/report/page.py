"""The report: tables and figures as files, and one page that holds them all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd

import repro
from repro.analysis import Evidence, load_evidence, scale_order
from repro.config import Config
from repro.records import atomic_write
from repro.report.labels import PAPER_SCALE, scale_remark
from repro.report.present import header, to_latex, to_markdown
from repro.report.registry import FIGURES, OVERVIEW, RECORDS, RESULTS, TABLES, FigureEntry, TableEntry
from repro.report.style import inline_svg, to_bytes


@dataclass(frozen=True)
class Section:
    """The rows of one scale, with the heading that says what it is; without a heading in a plain list."""

    heading: str
    remark: str
    rows: list[list[str]]


@dataclass(frozen=True)
class TableView:
    """A table as the page's template needs it.

    Attributes:
        name: File name without its ending.
        entry: Title, caption and part.
        groups: Upper header line: text and columns spanned; empty for a plain list.
        header: Lower header line.
        sections: The rows, in text.
    """

    name: str
    entry: TableEntry
    groups: list[tuple[str, int]]
    header: list[str]
    sections: list[Section]


@dataclass(frozen=True)
class FigureView:
    """A figure as the page's template needs it: inline SVG, alternative text and what its scales are."""

    name: str
    entry: FigureEntry
    svg: str
    alt: str
    notes: str


def build_report(config: Config, results: str | Path, output: str | Path) -> Path:
    """Build ``index.html``, ``tables/`` and ``figures/`` from the records.

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
    page = output / "index.html"
    atomic_write(page, _render(evidence, tables, figures))
    return page


def _write_table(evidence: Evidence, name: str, entry: TableEntry, folder: Path) -> TableView:
    frame = entry.build(evidence)
    shown = entry.show(frame)
    caption = f"{entry.caption}{_table_notes(evidence, shown)}"
    atomic_write(folder / f"{name}.csv", frame.to_csv(index=False))
    atomic_write(folder / f"{name}.md", to_markdown(shown, entry.title, caption))
    atomic_write(folder / f"{name}.tex", to_latex(shown, name, entry.title, caption))
    return _view(evidence.config, name, entry, shown)


def _table_notes(evidence: Evidence, shown: pd.DataFrame) -> str:
    """The page says at each group of rows what its scale is; a file that travels alone says it in its caption."""
    return "" if shown.index.nlevels == 1 else _scale_notes(evidence, shown.index.get_level_values("scale"))


def _scale_notes(evidence: Evidence, scales: Iterable[str]) -> str:
    known = dict.fromkeys(scale for scale in scales if scale)
    return "".join(f" Scale {scale}: {scale_remark(evidence.config, scale)}." for scale in known)


def _view(config: Config, name: str, entry: TableEntry, shown: pd.DataFrame) -> TableView:
    if shown.index.nlevels == 1:
        section = Section("", "", shown.to_numpy().tolist())
        return TableView(name, entry, [], [str(column) for column in shown.columns], [section])
    groups: dict[str, int] = {}
    for group, _ in header(shown):
        groups[group] = groups.get(group, 0) + 1
    sections = []
    for scale, part in shown.groupby(level="scale", sort=False):
        labels = part.index.get_level_values("row")
        rows = [[str(label), *texts] for label, texts in zip(labels, part.to_numpy().tolist(), strict=True)]
        sections.append(Section(f"Scale {scale}", scale_remark(config, str(scale)), rows))
    columns = ["", *(column for _, column in header(shown))]
    return TableView(name, entry, [("", 1), *groups.items()], columns, sections)


def _write_figure(evidence: Evidence, name: str, entry: FigureEntry, folder: Path) -> FigureView:
    frame = entry.data(evidence)
    figure = entry.draw(frame)
    svg = to_bytes(figure, "svg")
    atomic_write(folder / f"{name}.csv", frame.to_csv(index=False))
    atomic_write(folder / f"{name}.svg", svg)
    atomic_write(folder / f"{name}.png", to_bytes(figure, "png"))
    panels = "; ".join(dict.fromkeys(frame["panel"]))
    return FigureView(
        name, entry, inline_svg(svg, name), f"{entry.alt} Panels: {panels}.", _scale_notes(evidence, frame["scale"])
    )


def _warnings(evidence: Evidence) -> Iterator[str]:
    """What a reader must know before any number."""
    found = [scale for scale in scale_order(evidence.config) if (evidence.runs["scale"] == scale).any()]
    if not found:
        yield (
            "No record was found: everything measured says “not run”. "
            f"Configured scale: {evidence.config.scale} ({evidence.config.scales[evidence.config.scale].description})."
        )
    elif PAPER_SCALE not in found:
        yield "There is no run at scale paper yet: no number here confirms or refutes a measured number of the paper."
    for scale in found:
        if scale != PAPER_SCALE:
            data = ", ".join(sorted(evidence.runs.loc[evidence.runs["scale"] == scale, "data"].unique()))
            yield f"Scale {scale} ran on {data}: {scale_remark(evidence.config, scale)}."


def _render(evidence: Evidence, tables: list[TableView], figures: list[FigureView]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    parts = {part: [view for view in tables if view.entry.part == part] for part in (OVERVIEW, RESULTS, RECORDS)}
    template = environment.get_template("page.html.j2")
    return template.render(
        parts=parts, figures=figures, warnings=list(_warnings(evidence)), version=repro.__version__
    )  # fmt: skip
