"""The documents: every link leads somewhere, and every command and path that they name is there."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), PROJECT / "benchmarks/README.md", PROJECT / "results/README.md"]
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(document: Path) -> set[str]:
    """Of its headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    lost = []
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if target.startswith(("http://", "https://")):
            continue
        other = (document.parent / path).resolve() if path else document
        if not other.exists() or (anchor and other.suffix == ".md" and anchor not in anchors(other)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_modules_and_folders_that_it_names_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:repro|tests|benchmarks|profiles|docs)/[\w./-]*\w)`", text))
    made_by_readers = {"repro/quant/percentile.py", "repro/models/small.py", "repro/data/mine.py"}
    assert [path for path in sorted(named - made_by_readers) if not (PROJECT / path).exists()] == []
