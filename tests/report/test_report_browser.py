import csv
import re
import subprocess
from collections import Counter

import pytest
from browser import FLAGS, find_browser, opener
from report_factory import CONFIG, RecordFactory

from repro.config import load_config
from repro.report import FIGURES, build_report

WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    factory = RecordFactory(load_config(CONFIG), folder / "results")
    factory.write_all("quick", seeds=(0, 1))
    factory.write_all("short")
    factory.write("ablation_scale_fixed_3", "quick", 0, 0.1, status="diverged")
    return build_report(factory.config, factory.results, folder / "report")


@pytest.fixture
def visit(tmp_path):
    return opener(tmp_path)


@pytest.fixture(scope="module")
def claims(page):
    return list(csv.DictReader((page.parent / "tables" / "claims.csv").open()))


def cells(table, column):
    """JavaScript: a column's texts of a table, scale by scale."""
    return f"""[...document.querySelectorAll("#{table} tbody")].map((body) => [...body.rows]
        .filter((row) => !row.classList.contains("scale")).map((row) => row.cells[{column}].textContent))"""


def click(table, column):
    return f"""[...document.querySelectorAll("#{table} thead tr:last-child button")][{column}].click()"""


def steps(*expressions):
    """JavaScript: the values of several expressions, one after the other."""
    return f"[{', '.join(f'(() => {{ return {each}; }})()' for each in expressions)}]"


SHOWN = '[...document.querySelectorAll("#claims tbody tr")].filter((row) => row.offsetHeight > 0)'
SHOWN_CLAIMS = f'{SHOWN}.map((row) => row.querySelector("small").textContent.split(" · ").pop())'
STATUS = 'document.querySelector("#claims [role=status]").textContent'


@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_without_an_error_or_a_request_and_fits(page, visit, width):
    seen = visit(page, "[innerWidth, document.documentElement.scrollWidth]", width)
    assert seen.result[0] == width
    assert seen.result[1] <= width  # wide tables and figures scroll in their own boxes
    assert seen.console == []
    assert seen.requests == []


def test_the_check_itself_sees_errors_and_requests(page, visit):
    bad = page.with_name("bad.html")
    text = re.sub(r"<meta http-equiv=[^>]+>", "", page.read_text())
    bad.write_text(text.replace("</body>", "<img src='http://example.invalid/x.png'><script>missing()</script></body>"))
    seen = visit(bad)
    assert "http://example.invalid/x.png" in seen.requests
    assert any("missing is not defined" in line for line in seen.console)


def test_the_page_itself_refuses_requests(page, visit):
    bad = page.with_name("refused.html")
    bad.write_text(page.read_text().replace("</body>", "<img src='http://example.invalid/x.png'></body>"))
    seen = visit(bad)
    assert seen.requests == []
    assert any("Content Security Policy" in line for line in seen.console)


def test_the_overview_counts_the_ledger(page, visit, claims):
    script = """[[...document.querySelectorAll(".verdicts a")].map((tile) => [tile.dataset.verdict,
        tile.querySelector("b").textContent, tile.getBoundingClientRect().bottom]),
        document.querySelectorAll("#claims tbody tr").length]"""
    tiles, rows = visit(page, script).result
    assert rows == len(claims) > 0
    counts = Counter(claim["verdict"] for claim in claims)
    assert {verdict: int(count) for verdict, count, _ in tiles if int(count)} == counts
    assert all(bottom < 900 for _, _, bottom in tiles)  # the first screen


def test_the_ledger_filters_by_verdict_and_by_words(page, visit, claims):
    verdict = claims[0]["verdict"]
    word = max(claims[0]["statement"].split(), key=len).strip(",.;:“”()").upper()
    script = steps(
        f'document.querySelector(`.verdicts a[data-verdict="{verdict}"]`).click() ?? {SHOWN_CLAIMS}',
        'document.querySelector(`#claims button[aria-pressed="true"]`).dataset.verdict',
        STATUS,
        f"""(() => {{ const box = document.querySelector("#claims input"); box.value = "{word}";
            box.dispatchEvent(new Event("input")); return {SHOWN_CLAIMS}; }})()""",
        f'document.querySelector(`#claims button[data-verdict=""]`).click() ?? {SHOWN_CLAIMS}',
        STATUS,
    )
    by_verdict, pressed, status, by_both, by_word, last_status = visit(page, script).result
    expected = [claim["claim"] for claim in claims if claim["verdict"] == verdict]
    assert by_verdict == expected
    assert pressed == verdict
    assert status == f"{len(expected)} of {len(claims)} claims shown"
    assert claims[0]["claim"] in by_both
    assert set(by_both) == set(by_word) & set(by_verdict)
    assert 0 < len(by_word) < len(claims)
    assert last_status == f"{len(by_word)} of {len(claims)} claims shown"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_sorts_by_value_within_each_scale(page, visit, width):
    column = 4  # accuracy at the best epoch, in the sections short and quick
    header = f'document.querySelectorAll("#table7 thead tr:last-child th")[{column}].getAttribute("aria-sort")'
    state = f"[{header}, {cells('table7', column)}]"
    script = steps(state, *[f"{click('table7', column)} ?? {state}"] * 3)
    before, up, down, after = visit(page, script, width).result
    assert (before[0], up[0], down[0], after[0]) == ("none", "ascending", "descending", "none")
    assert len(before[1]) == 2
    for section in range(2):
        numbers = [float(text.split()[0].split("\xa0")[0]) for text in before[1][section]]
        assert numbers != sorted(numbers)
        for state, reverse in ((up, False), (down, True)):
            shown = [float(text.split()[0].split("\xa0")[0]) for text in state[1][section]]
            assert shown == sorted(numbers, reverse=reverse)
    assert after == before


def test_numbers_come_before_words_and_gaps_last(page, visit):
    column = 3  # accuracies of table II: several baselines may not have been run
    script = steps(*[f"{click('table2', column)} ?? {cells('table2', column)}"] * 2)
    for sections in visit(page, script).result:
        for texts in sections:
            kinds = [0 if text[0].isdigit() else 2 if text in ("not run", "–") else 1 for text in texts]
            assert kinds == sorted(kinds)


def test_headers_are_buttons_for_the_keyboard(page, visit):
    script = """(() => { const button = document.querySelector("#claims thead button"); button.focus();
        return [document.activeElement === button, button.type, button.textContent, button.closest("th").scope,
                [...document.querySelectorAll("thead tr:last-child > *")].every((each) => each.querySelector("button"))
        ]; })()"""
    assert visit(page, script).result == [True, "button", "claim", "col", True]


def test_without_its_script_everything_can_be_read(page, visit, claims):
    plain = page.with_name("plain.html")
    plain.write_text(re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL))
    script = f'[{SHOWN}.length, document.querySelector(".filters").offsetHeight]'
    shown, filters = visit(plain, script).result
    assert shown == len(claims)
    assert filters == 0


def test_it_prints(page, tmp_path):
    path = tmp_path / "page.pdf"
    command = [
        find_browser(),
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--print-to-pdf={path}",
        page.as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    sizes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", path.read_bytes())
    upright = sum(float(width) < float(height) for width, height in sizes)
    assert upright >= len(FIGURES)  # every figure has a page; tables lie across
    assert len(sizes) > upright + 5
