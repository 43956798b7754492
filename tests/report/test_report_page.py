import json
import re
import time
from html.parser import HTMLParser

import pytest
from repro.report.curves import curves
from repro.report.forest import ablation_points

from repro.analysis import load_evidence
from repro.records import StorageError
from repro.report import FIGURES, TABLES, build_report

VOID = {"meta", "link", "br", "hr", "img", "input"}
SELF_CLOSED = {"path", "use", "rect", "line", "circle"}


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
    factory.write_all("quick")
    factory.write("main_cifar10", "short")
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
    assert len(page.images) == len(FIGURES)
    assert all(len(alt) > 40 and "Panels:" in alt for alt in page.images)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("https://arxiv.org/"):
            assert (path.parent / link).is_file()
    for name in TABLES:
        assert all((path.parent / "tables" / f"{name}.{kind}").stat().st_size for kind in ("csv", "md", "tex"))
    for name in FIGURES:
        assert all((path.parent / "figures" / f"{name}.{kind}").stat().st_size for kind in ("svg", "png", "csv"))


def test_the_page_says_what_is_missing_and_what_does_not_compare(factory, tmp_path):
    _, text = build(factory, tmp_path)
    assert "No record was found" in text
    factory.write("main_cifar10")
    _, text = build(factory, tmp_path)
    assert "There is no run at scale paper yet" in text
    assert "Scale quick ran on digits10" in text
    assert text.count("not comparable to the paper&#39;s numbers") > 4
    factory.write("main_cifar10", "paper")
    _, text = build(factory, tmp_path)
    assert "There is no run at scale paper yet" not in text


def test_the_same_records_give_the_same_bytes(factory, tmp_path):
    fill(factory)
    for folder in ("one", "two"):
        build_report(factory.config, factory.results, tmp_path / folder)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) > 30
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_text_of_a_contributed_record_is_escaped(factory, tmp_path):
    folder = factory.write("main_cifar10", status="diverged")
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "reason": "<script>alert(1)</script>"}))
    _, text = build(factory, tmp_path)
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_the_authors_log_is_drawn_only_beside_the_same_data(factory):
    factory.write("main_cifar10", "quick")
    frame = curves(load_evidence(factory.config, factory.results), "cifar10")
    assert not frame[(frame["scale"] == "quick") & frame["series"].str.startswith("authors")].size
    assert "not CIFAR" in frame.loc[frame["scale"] == "quick", "panel"].iloc[0]
    assert "log alone" in frame["panel"].iloc[0]
    factory.write("main_cifar10", "short")
    frame = curves(load_evidence(factory.config, factory.results), "cifar10")
    assert frame["scale"].drop_duplicates().tolist() == ["short", "quick"]
    assert frame.loc[frame["series"].str.startswith("authors"), "scale"].unique().tolist() == ["short"]


def test_the_papers_ablation_values_are_never_drawn_over_digits(factory):
    factory.write("ablation_full", "quick")
    points = ablation_points(load_evidence(factory.config, factory.results))
    assert set(points.loc[points["source"] == "paper", "scale"]) == {""}
    factory.write("ablation_full", "short")
    points = ablation_points(load_evidence(factory.config, factory.results))
    assert set(points.loc[points["source"] == "paper", "scale"]) == {"short"}


def test_a_file_that_cannot_be_written_is_a_users_error(factory, tmp_path):
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(StorageError):
        build_report(factory.config, factory.results, tmp_path / "report")


def test_a_hundred_records_take_seconds(factory, tmp_path):
    factory.write_all("quick", seeds=(0, 1, 2))
    factory.write_all("short", seeds=(0, 1))
    assert len(list(factory.results.glob("*/*/*/record.json"))) >= 100
    start = time.process_time()  # one thread: whatever else the machine does, this is the time on free cores
    build(factory, tmp_path)
    assert time.process_time() - start < 15
