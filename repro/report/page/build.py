"""The report: tables and figures as files, one page that holds them all, and its short form as Markdown."""

import gc
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd

import repro
from repro.analysis import Evidence, load_evidence
from repro.claims.rules import MEANINGS
from repro.config import Config
from repro.records import atomic_write
from repro.report import text, vocabulary
from repro.report.figures.files import inline_svg, to_bytes
from repro.report.figures.plot import Plot
from repro.report.figures.sketches import Course, courses
from repro.report.figures.statements import STATEMENTS
from repro.report.page.contents import Block, Part, contents
from repro.report.page.ledger import Ledger, read_ledger
from repro.report.page.story import QUESTION, Story, tell
from repro.report.tables.groups import DIGITS
from repro.report.tables.records import LISTINGS, Listing
from repro.report.tables.table import Grid, Table
from repro.report.view import Records, View

PROCESSES = 2  # that draw: figures take half of all time
SIDE_BY_SIDE = 7  # columns, the rows' names included, up to which a table leaves room for a figure


@dataclass(frozen=True)
class Shown:
    """A table or a figure of the page, at each scale that it has; the strongest comes first.

    Attributes:
        about: Its declaration.
        grids: A table's cells by scale.
        pictures: A figure's SVG by scale, ready for the page.
        views: The scales.
        measured: Whether any run is behind it.
    """

    about: Table | Plot
    views: Sequence[View]
    grids: Sequence[Grid] = ()
    pictures: Sequence[str] = ()
    measured: bool = True


@dataclass(frozen=True)
class BlockView:
    """A block of the page."""

    block: Block
    table: Shown | None
    figures: list[Shown]

    @property
    def beside(self) -> bool:
        """Whether the figure stands beside the table and not below it."""
        if self.table is None or not self.table.measured:
            return False
        return len(self.figures) == 1 and len(self.table.grids[0].shown) + 1 <= SIDE_BY_SIDE


@dataclass(frozen=True)
class ListView:
    """A plain list of the page: its CSV and what is shown of it."""

    about: Listing
    frame: pd.DataFrame
    shown: pd.DataFrame


@dataclass(frozen=True)
class Report:
    """All that the page and the Markdown say."""

    config: Config
    records: Records
    story: Story
    ledger: Ledger
    picture: Shown
    parts: list[tuple[Part, list[BlockView]]]
    digits: Shown | None
    lists: list[ListView]
    courses: list[Course]
    drawings: "dict[str, list[Drawn]]"


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
    from repro.report.page.markdown import report_markdown

    output = Path(output)
    report = make_report(load_evidence(config, results))
    _write_files(report, output)
    atomic_write(output / "report.md", report_markdown(report))
    atomic_write(output / "index.html", render(report, files=True, findings="../docs/FINDINGS.md"))
    return output / "index.html"


def make_report(evidence: Evidence) -> Report:
    """Everything of the report, not yet written."""
    records = Records(evidence)
    parts = contents(records.config)
    plots = [STATEMENTS, *(plot for part in parts for block in part.blocks for plot in block.plots)]
    with drawing(records, plots) as drawn:  # while the tables are made and the ledger is judged
        tables = {block.table.name: _table(block.table, block.table.views(records))
                  for part in parts for block in part.blocks if block.table}  # fmt: skip
        ledger = read_ledger(evidence)
        story = tell(records, ledger)
        drawings = drawn()
    figures = {
        plot.name: Shown(
            plot,
            [View(records, each.scale) for each in drawings.get(plot.name, [])],
            pictures=[each.picture for each in drawings.get(plot.name, [])],
            measured=plot.name in drawings,
        )
        for plot in plots
    }
    return Report(
        config=records.config,
        records=records,
        story=story,
        ledger=ledger,
        picture=figures[STATEMENTS.name],
        parts=[(part, [BlockView(block, tables[block.table.name] if block.table else None,
                                 [figures[plot.name] for plot in block.plots]) for block in part.blocks])
               for part in parts],
        digits=_table(DIGITS, [View(records, records.digits[0])]) if records.digits else None,
        lists=[ListView(each, frame := each.frame(evidence), each.show(evidence, frame)) for each in LISTINGS],
        courses=courses(records),
        drawings=drawings,
    )  # fmt: skip


def _table(table: Table, views: Sequence[View]) -> Shown:
    grids = [table.grid(view) for view in views]
    own = {name for view in views for name in table.experiments(view)} if table.experiments else None
    measured = any(
        cell.seeds and (own is None or row.experiment is None or row.experiment in own)
        for grid in grids
        for row, cells in zip(grid.rows, grid.cells, strict=True)
        for cell in cells
    )
    return Shown(table, views, grids=grids, measured=measured)


@dataclass(frozen=True)
class Drawn:
    """A figure at one scale for the page and as files; the PNG of the strongest alone."""

    scale: str
    picture: str
    svg: bytes
    png: bytes
    data: pd.DataFrame


_jobs: list[tuple[Plot, View, int]] = []


@contextmanager
def drawing(records: Records, plots: Sequence[Plot]) -> Iterator[Callable[[], dict[str, list[Drawn]]]]:
    """Draw what was measured, at every scale that it has, on processes that inherit the records; call to wait."""
    _jobs[:] = [(plot, view, place) for plot in plots for place, view in enumerate(plot.views(records))
                if plot is STATEMENTS or plot.measured(view)]  # fmt: skip
    _ = records.frames, records.evidence.select("", "")  # indexed before the processes part
    gc.freeze()  # nor need they look through all records for garbage
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(PROCESSES, mp_context=fork, initializer=gc.disable) as pool:
        drawn = pool.map(_draw, range(len(_jobs)))

        def collect() -> dict[str, list[Drawn]]:
            found: dict[str, list[Drawn]] = {}
            for (plot, _, _), each in zip(_jobs, drawn, strict=True):
                found.setdefault(plot.name, []).append(each)
            return found

        yield collect
    gc.unfreeze()


def _draw(job: int) -> Drawn:
    plot, view, place = _jobs[job]
    drawing = plot.drawing(view)
    svg, png = to_bytes(drawing.figure, "svg"), b"" if place else to_bytes(drawing.figure, "png")
    return Drawn(view.scale, inline_svg(svg, f"{plot.name}-{place}"), svg, png, drawing.data)


def _write_files(report: Report, output: Path) -> None:
    tables = [view.table for _, blocks in report.parts for view in blocks if view.table]

    def write(name: str, frame: pd.DataFrame, shown: pd.DataFrame, caption: str) -> None:
        atomic_write(output / "tables" / f"{name}.csv", frame.to_csv(index=False))
        atomic_write(output / "tables" / f"{name}.tex", text.latex_table(shown.astype(str), name, caption))

    for each in [*tables, *([report.digits] if report.digits else [])]:
        about, grid = each.about, each.grids[0]
        scale = grid.view.about(row.experiment or "" for row in grid.rows)
        caption = f"{about.title}. {about.caption} Scale {scale}."
        write(about.name, pd.concat([grid.frame() for grid in each.grids]), _flat(grid), caption)
    claims = report.ledger.frame
    write("claims", claims, claims.replace("", text.EMPTY), "The ledger of claims.")
    for one in report.lists:
        write(one.about.name, one.frame, one.shown, f"{one.about.title}. {one.about.caption}")
    plots = {plot.name for _, blocks in report.parts for view in blocks for plot in view.block.plots}
    for path in (output / "figures").glob("*.*"):
        if path.stem in plots - set(report.drawings):
            path.unlink()  # of records that are gone
    for name, drawn in report.drawings.items():
        atomic_write(output / "figures" / f"{name}.svg", drawn[0].svg)
        atomic_write(output / "figures" / f"{name}.png", drawn[0].png)
        data = pd.concat([each.data for each in drawn]).to_csv(index=False)
        atomic_write(output / "figures" / f"{name}.csv", data)


def _flat(grid: Grid) -> pd.DataFrame:
    """The shown columns of a table as text, with one line of headings."""
    columns = [grid.columns[place] for place in grid.shown]
    rows = [[row.label, *(text.cell_text(cells[place]) for place in grid.shown)]
            for row, cells in zip(grid.rows, grid.cells, strict=True)]  # fmt: skip
    return pd.DataFrame(rows, columns=["", *(f"{column.group}: {column.title}" for column in columns)])


def render(report: Report, *, files: bool, findings: str) -> str:
    """The page.

    Args:
        report: What it says.
        files: Whether the tables and figures lie beside it as files, to be linked.
        findings: Where the findings in prose lie, seen from the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.j2").render(
        report=report, files=files, findings=findings, question=QUESTION, version=repro.__version__,
        words=vocabulary, text=text, meanings=MEANINGS,
    )  # fmt: skip
