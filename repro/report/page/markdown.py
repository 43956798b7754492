"""The report's short form as one Markdown file, for a code host that shows no HTML. It says what the page says."""

from collections.abc import Iterator
from itertools import groupby

from repro.report import text
from repro.report.page.build import BlockView, Report, Shown
from repro.report.page.story import QUESTION
from repro.report.tables.table import Grid
from repro.report.vocabulary import ARXIV, CELLS, TITLE

MOST_COLUMNS = 6  # the rows' names included


def report_markdown(report: Report) -> str:
    """The first screen, the tables, and links to the files; all relative to the report's own folder."""
    story = report.story
    lines = [
        f"# Reproduction of “{TITLE}”",
        *(f"> **{warning}**" for warning in story.warnings),
        f"{QUESTION} ([arXiv {ARXIV}](https://arxiv.org/abs/{ARXIV}))",
        f"**{story.headline}**",
        text.markdown_table(("question", "answer"), story.answers.items()),
        _picture(report.picture),
        "## Verdicts",
        text.markdown_table(("verdict", "claims"), report.ledger.counts.items()),
        "## Headline findings",
        "\n".join(f"{place}. **{one.title}**, {one.verdict}. {one.sentence}"
                  for place, (one, _) in enumerate(report.ledger.headlines, 1)),
        "Every claim: [CSV](tables/claims.csv). [Findings in prose](../docs/FINDINGS.md).",
        "## What has been run",
        "\n".join(f"- **{each.scale}** ({'decides' if each.decides else 'decides nothing'}): {each.done} of "
                  f"{each.planned} runs; the rest: `{each.command}`" for each in story.progress),
        *(line for part, blocks in report.parts for line in (f"## {part.title}", *_blocks(blocks))),
        CELLS,
    ]  # fmt: skip
    return "\n\n".join(line for line in lines if line) + "\n"


def _blocks(blocks: list[BlockView]) -> Iterator[str]:
    for block in blocks:
        if block.table:
            yield f"### {block.table.about.title}"
            yield from _table(block.table)
        yield from (_picture(shown) for shown in block.figures if shown.measured)


def _table(shown: Shown) -> Iterator[str]:
    files = f"[CSV](tables/{shown.about.name}.csv)"
    if not shown.measured:
        yield f"Not run at any scale yet. {files}"
        return
    grid = shown.grids[0]
    note = "" if grid.view.decides else " This scale decides nothing."
    yield f"{shown.about.caption} *{grid.view.about(grid.experiments)}.*{note} {files}"
    yield text.markdown_table(*narrow(grid))
    if grid.waiting:
        yield f"Not run yet: {'; '.join(grid.waiting)}."


def narrow(grid: Grid) -> tuple[list[str], list[list[str]]]:
    """A table of at most six columns: where it has more, those of one group share a column."""
    if len(grid.shown) < MOST_COLUMNS:
        groups = [[place] for place in grid.shown]
    else:
        groups = [list(same) for _, same in groupby(grid.shown, key=lambda place: grid.columns[place].group)]
    header = [f"{grid.columns[each[0]].group}: {' / '.join(grid.columns[place].title for place in each)}"
              for each in groups]  # fmt: skip
    rows = [
        [row.label, *(" / ".join(text.cell_text(cells[place]) for place in each) for each in groups)]
        for row, cells in ((grid.rows[place], grid.cells[place]) for place in grid.filled)
    ]
    return ["", *header], rows


def _picture(shown: Shown) -> str:
    name, about = shown.about.name, shown.about
    alt = f"{about.title} {getattr(about, 'alt', '')}".replace("[", "(").replace("]", ")")
    return f"![{alt}](figures/{name}.png)\n\n{about.caption} [CSV](figures/{name}.csv)"
