import json
import os
import re
import shutil
from html.parser import HTMLParser

import pytest
from tables_of import all_plots, all_tables, drawing

from repro.records import StorageError
from repro.report import build_report
from repro.report.figures.curves import curves
from repro.report.tables.records import LISTINGS
from repro.report.vocabulary import LOG, TITLE

VOID = {"meta", "link", "br", "hr", "img", "input"}
FINDINGS = "../docs/FINDINGS.md"  # of the repository, not of the report's folder


class Page(HTMLParser):
    """Checks nesting; collects what would be fetched, link targets, ids and labelled images."""

    def __init__(self, text):
        super().__init__()
        self.open, self.fetched, self.links, self.ids, self.images = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a":
            self.links.append(attributes["href"])
        else:
            self.fetched += [attributes[name] for name in ("src", "href", "srcset", "xlink:href") if name in attributes]
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if attributes.get("role") == "img":
            self.images.append(attributes["aria-label"])

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag


def build(factory, tmp_path):
    page = build_report(factory.config, factory.results, tmp_path / "report")
    return page, page.read_text()


def fill(factory):
    for name in ("main_cifar10", "fp32_cifar10", "ablation_full", "ablation_no_weight_clip", "bits2_cifar10"):
        factory.write(name, "short")
    factory.write("main_cifar10", "quick")
    factory.write("main_cifar10", "paper", 0, 0.92)
    factory.write("main_cifar10", "paper", 1, 0.93)


@pytest.mark.parametrize("filled", [False, True])
def test_the_page_is_self_contained_and_well_formed(factory, tmp_path, filled):
    if filled:
        fill(factory)
    path, text = build(factory, tmp_path)
    page = Page(text)
    assert all(target.startswith(("#", "data:")) for target in page.fetched)
    assert not re.search(r"@import|url\((?!#)|<script[^>]+src", text)
    assert len(page.ids) == len(set(page.ids))
    assert all(len(alt) > 60 for alt in page.images)
    assert len(page.images) > 4
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("https://arxiv.org/") and link != FINDINGS:
            assert (path.parent / link).is_file()
    tables = {name for name in all_tables(factory.config) if filled or name != "digits"}
    for name in (*tables, *(listing.name for listing in LISTINGS), "claims"):
        assert all((path.parent / "tables" / f"{name}.{kind}").stat().st_size for kind in ("csv", "tex"))
    drawn = {each.stem for each in (path.parent / "figures").iterdir()}
    assert {"statements", "figure1", "figure3"} <= drawn <= set(all_plots(factory.config))
    assert ("ablation" in drawn, "figure_quantizers" in drawn) == (True, False)
    for name in drawn:
        assert all((path.parent / "figures" / f"{name}.{kind}").stat().st_size for kind in ("svg", "png", "csv"))
    for name in (*tables, *(claim for claim in page.ids if claim.startswith("claim-"))):
        assert name in page.ids  # each has a link of its own


def test_the_first_screen_asks_and_answers(factory, tmp_path):
    _, text = build(factory, tmp_path)
    assert f"<h1>{TITLE}</h1>" in text
    assert "No record was found" in text
    factory.write("main_cifar10")
    factory.write("fp32_cifar10")
    _, text = build(factory, tmp_path)
    assert "All there is so far are runs on digits10" in text.split("<h1>")[0]  # the first line
    assert "Not answered yet: no 4-bit run on CIFAR" in text
    for name, best in (("main_cifar10", 0.85), ("fp32_cifar10", 0.86)):
        factory.write(name, "short", best=best)
    _, text = build(factory, tmp_path)
    assert "All there is so far" not in text
    assert "unquantised in bfloat16 is, in points: CIFAR-10 −1.00 (best epoch), −1.00 (last epoch) (1 seed)." in text
    assert "(150 epochs; 100 in the ablation) decide" in text
    for seed in (0, 1, 2):
        factory.write("main_cifar10", "paper", seed, 0.920 + 0.001 * seed)
        factory.write("fp32_cifar10", "paper", seed, 0.921 + 0.0012 * seed)
    _, text = build(factory, tmp_path)
    assert re.search(r"Yes on CIFAR-10, best epoch: 4-bit minus unquantised is −0\.12 ±0\.05 points \(3 seeds\)", text)
    assert "3 of " in text  # runs of scale paper in the answer to what is missing


def test_the_same_records_give_the_same_bytes(factory, tmp_path):
    fill(factory)
    for folder in ("one", "two"):
        build_report(factory.config, factory.results, tmp_path / folder)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) > 30
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_a_figure_goes_with_the_records_that_it_shows(factory, tmp_path):
    record = factory.write("optimizer_lion_w4")
    page, _ = build(factory, tmp_path)
    (page.parent / "figures" / "own.png").touch()
    shutil.rmtree(record)
    assert (page.parent / "figures" / "figure_optimizers.svg").exists()
    build(factory, tmp_path)
    assert not list((page.parent / "figures").glob("figure_optimizers.*"))
    assert (page.parent / "figures" / "own.png").exists()


def test_text_of_a_contributed_record_is_escaped(factory, tmp_path):
    folder = factory.write("main_cifar10", status="diverged")
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "reason": "<script>alert(1)</script>"}))
    _, text = build(factory, tmp_path)
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_the_authors_log_is_drawn_only_beside_the_same_data(factory):
    factory.write("main_cifar10", "quick")
    assert LOG not in set(drawing(factory, "figure3").data["series"])
    factory.write("main_cifar10", "short")
    frame = drawing(factory, "figure3").data
    assert set(frame["scale"]) == {"short"}
    assert {LOG, "4-bit"} == set(frame["series"])
    assert curves.__doc__


def test_the_papers_values_are_never_drawn_over_digits(factory):
    factory.write("ablation_full", "quick")
    factory.write("main_cifar10", "quick")
    for name in ("ablation", "statements", "full_precision"):
        assert not drawing(factory, name, "quick").data["series"].str.startswith(("paper", "authors")).any(), name
    factory.write("ablation_full", "short")
    assert drawing(factory, "ablation").data["series"].str.startswith("paper").any()


def test_a_file_that_cannot_be_written_is_a_users_error(factory, tmp_path):
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(StorageError):
        build_report(factory.config, factory.results, tmp_path / "report")


@pytest.mark.slow
def test_150_records_take_seconds(factory, tmp_path):
    factory.write_all("paper_bf16", seeds=(0, 1))
    factory.write_all("short")
    factory.write("main_cifar10", "paper")
    assert len(list(factory.results.glob("*/*/*/record.json"))) >= 150
    start = os.times()  # of this process and its children: whatever else the machine does
    build(factory, tmp_path)
    end = os.times()
    seconds = sum(end[place] - start[place] for place in range(4))
    assert seconds < 30  # of processor time, the ledger included; on two free cores that is half of it
