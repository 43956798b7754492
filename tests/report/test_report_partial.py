"""Whatever evidence there is, the page is sound and says what is missing."""

import csv
import json
import re

import pytest
from page_cells import PageTables
from report_factory import CONFIG
from tables_of import all_plots, all_tables

from repro.config import Plan, load_config
from repro.report import build_report
from repro.report.tables.records import LISTINGS

# What a value that is not there looks like when it slips through; "NaN" as a word of a sentence is fine.
LEAKED = re.compile(r"\b(nan|None|NaT|inf|Traceback|undefined)\b|<NA>|\{\{|[|&]\s*NaN\s*[|&]")


def nothing(factory):
    """No record at all."""


def one_scale(factory):
    for name in ("main_cifar10", "fp32_cifar10", "main_cifar100", "ptq4_cifar10", "mobile_cifar10"):
        for seed in (0, 1):
            factory.write(name, "short", seed)


def one_run(factory):
    factory.write("main_cifar10")


def diverged(factory):
    folder = factory.write("ablation_scale_fixed_3", best=0.1, status="diverged")
    edit(folder, summary={"final_train_loss": None, "final_test_loss": None, "gradient": None})
    factory.write("ablation_full", seed=1)


def other_machine(factory):
    factory.write("main_cifar10", "short", 0)
    folder = factory.write("main_cifar10", "short", 1)
    other = {"device": "cuda", "device_name": "an accelerator", "machine": "aarch64", "torch": "9.9", "git_commit": ""}
    edit(folder, environment=other)


def set_aside(factory):
    factory.write("main_cifar10")
    factory.write("main_cifar10", spec_hash="deadbeef")
    (factory.write("main_cifar100") / "record.json").write_text("{")
    (factory.write("fp32_cifar10") / "layers.csv").unlink()


def paper_scale(factory):
    factory.write("main_cifar10", "paper", 0, 0.92)
    factory.write("fp32_cifar10", "paper", 0, 0.925)


def edit(folder, **parts):
    path = folder / "record.json"
    record = json.loads(path.read_text())
    for part, changes in parts.items():
        record[part] |= changes
    path.write_text(json.dumps(record))


RUNS = len(list(Plan(load_config(CONFIG), "quick")))
SAYS = {
    nothing: ["No record was found", "not run", "There is no such record.", "Not run at any scale yet"],
    one_scale: ["short: CIFAR-10, CIFAR-100, 2 seeds, 9 epochs, bf16", "seeds 0, 1", "decides nothing"],
    one_run: [f"1 of {RUNS} runs, seed 0", "†", "not run", "All there is so far are runs on digits10"],
    diverged: ["1 of them diverged", "diverged"],
    other_machine: ["hours on a CPU (1); an accelerator (cuda) (1)"],
    set_aside: ["3 records set aside, in no table: 1 stale and 2 unreadable", "deadbeef", "not a readable record"],
    paper_scale: [
        "paper: CIFAR-10, 1 seed, 150 epochs, fp32",
        "Undecided on CIFAR-10, best epoch: 4-bit minus unquantised is −0.50",
    ],
}


@pytest.mark.parametrize("evidence", SAYS, ids=lambda each: each.__name__)
def test_partial_evidence_gives_a_sound_page(factory, tmp_path, evidence):
    evidence(factory)
    page = build_report(factory.config, factory.results, tmp_path / "report")
    tables = PageTables(page.read_text())
    text = " ".join(tables.words)
    assert not LEAKED.search(text), LEAKED.search(text)
    assert not [cell for row in tables.rows for cell in row if cell.text in ("NaN", "")]
    for expected in SAYS[evidence]:
        assert expected in re.sub(r"\s+", " ", text), expected
    assert {row[0].table for row in tables.rows if row} >= {"main", "coverage", "table2", "table3", "table4", "table7"}
    for path in [*page.parent.rglob("*.md"), *page.parent.rglob("*.tex")]:
        assert not LEAKED.search(path.read_text()), (path, LEAKED.search(path.read_text()))


def test_the_markdown_is_the_short_form_of_the_page(factory, tmp_path):
    one_scale(factory)
    folder = build_report(factory.config, factory.results, tmp_path / "report").parent
    text = (folder / "report.md").read_text()
    claims = list(csv.DictReader((folder / "tables" / "claims.csv").open()))
    counts = dict(re.findall(r"^\| ([a-z][a-z' ]+?) +\| (\d+) +\|$", text, flags=re.MULTILINE))
    for verdict in {claim["verdict"] for claim in claims}:
        assert int(counts[verdict]) == sum(claim["verdict"] == verdict for claim in claims)
    for table in all_tables(factory.config).values():
        assert f"### {table.title}\n" in text or table.name == "digits"
    assert all(line.count("|") - line.count(r"\|") <= 7 for line in text.splitlines() if line.startswith("|"))
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 20
    beside = [link for link in links if not link.startswith(("https://", "../docs/"))]
    assert all((folder / link).is_file() for link in beside)
    assert "../docs/FINDINGS.md" in links


def test_text_of_a_record_breaks_neither_markdown_nor_latex(factory, tmp_path):
    folder = factory.write("mobile_cifar10", status="diverged")
    path = folder / "record.json"
    record = json.loads(path.read_text()) | {"reason": "a 50 % of $x_1$ #3"}
    record["environment"] |= {"processor": "a | b <img src=x>"}
    path.write_text(json.dumps(record))
    report = build_report(factory.config, factory.results, tmp_path / "report").parent
    assert r"a \| b &lt;img src=x>" in (report / "report.md").read_text()
    assert r"50 \% of \$x\_1\$ \#3" in (report / "tables" / "runs.tex").read_text()


def test_latex_needs_nothing_but_ascii_and_booktabs(factory, tmp_path):
    one_scale(factory)
    report = build_report(factory.config, factory.results, tmp_path / "report").parent
    names = [name for name in all_tables(factory.config) if name != "digits"]
    for name in (*names, "claims", *(listing.name for listing in LISTINGS)):
        text = (report / "tables" / f"{name}.tex").read_text()
        assert text.isascii(), (name, sorted({character for character in text if not character.isascii()}))
        kind = "longtable" if r"\endhead" in text else "tabular"
        assert text.count(rf"\begin{{{kind}}}") == text.count(rf"\end{{{kind}}}") == 1
        assert r"\toprule" in text
    assert len(all_plots(factory.config)) > 14
