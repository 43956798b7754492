import csv
import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from browser import FLAGS, find_browser, opener
from report_factory import CONFIG, RecordFactory

from repro.config import load_config
from repro.report import build_report

WIDTHS = (1280, 390)
EVERYTHING = ("main_cifar10", "fp32_cifar10", "main_cifar100", "fp32_cifar100", "ablation_full", "qat8_cifar10",
              "ablation_no_weight_clip", "ablation_standard_adamw", "ptq4_cifar10", "ptq4_gptq_cifar10",
              "bits2_cifar10", "schedule_restarts_cifar10", "dorefa_w4_cifar10", "mobile_cifar10")  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    factory = RecordFactory(load_config(CONFIG), folder / "results")
    for place, name in enumerate(EVERYTHING):
        for seed in (0, 1):
            factory.write(name, "paper_bf16", seed, best=0.92 - 0.01 * (place * 5 % 7) + 0.001 * seed)
        factory.write(name, "short", 0, best=0.85 - 0.01 * (place * 3 % 5))
    factory.write("main_cifar10", "quick")
    factory.write("ablation_scale_fixed_3", "paper_bf16", 0, 0.1, status="diverged")
    factory.export(factory.write("main_cifar10", "short", 0, 0.86))
    return build_report(factory.config, factory.results, folder / "report")


@pytest.fixture
def visit(tmp_path):
    return opener(tmp_path)


@pytest.fixture(scope="module")
def claims(page):
    return list(csv.DictReader((page.parent / "tables" / "claims.csv").open()))


def steps(*expressions):
    """JavaScript: the values of several expressions, one after the other."""
    return f"[{', '.join(f'(() => {{ return {each}; }})()' for each in expressions)}]"


TABLE = 'document.querySelector("#table7 .pane table")'
BEST = 3  # accuracy at the best epoch
CELLS = f"[...{TABLE}.tBodies[0].rows].map((row) => row.cells[{BEST}].textContent)"
CLICK = f'{TABLE}.tHead.rows[1].cells[{BEST}].querySelector("button").click()'
SHOWN = '[...document.querySelectorAll("#claims tbody tr")].filter((row) => row.offsetHeight > 0)'
SHOWN_CLAIMS = f'{SHOWN}.map((row) => row.id.replace("claim-", ""))'
STATUS = 'document.querySelector("#claims [role=status]").textContent'
TOO_WIDE = """[...document.querySelectorAll(".scroll")]
    .filter((box) => box.offsetHeight && box.scrollWidth > box.clientWidth + 1).map((box) => box.ariaLabel)"""


@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_without_an_error_or_a_request_and_fits(page, visit, width):
    seen = visit(page, f"[innerWidth, document.documentElement.scrollWidth, {TOO_WIDE}]", width)
    assert seen.result[0] == width
    assert seen.result[1] <= width
    assert width < 1280 or seen.result[2] == []  # on a phone a table scrolls in its own box
    assert seen.console == []
    assert seen.requests == []


def test_on_a_phone_a_rows_name_stays_in_sight(page, visit):
    script = f"""(() => {{ const box = {TABLE}.closest(".scroll"); box.scrollLeft = 200;
        return [box.scrollLeft, {TABLE}.tBodies[0].rows[1].cells[0].getBoundingClientRect().left]; }})()"""
    scrolled, left = visit(page, script, 390).result
    assert scrolled > 50
    assert 0 <= left < 30


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


def test_the_first_two_screens_hold_the_answer_the_picture_the_verdicts_and_the_findings(page, visit, claims):
    script = """[[...document.querySelectorAll(".legend a")].map((each) => [each.dataset.verdict,
        each.querySelector("b").textContent]), ...[".answers", "#statements", ".bars", ".findings"]
        .map((name) => document.querySelector(name).getBoundingClientRect().bottom)]"""
    counts, *bottoms = visit(page, script).result
    assert {verdict: int(count) for verdict, count in counts} == Counter(claim["verdict"] for claim in claims)
    assert max(bottoms[:2]) < 1100
    assert max(bottoms) < 1900


def test_the_switch_shows_another_scale_without_scripts_too(page, visit):
    plain = page.with_name("plain.html")
    plain.write_text(re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL))
    state = """[...document.querySelectorAll("#main .tabled .pane")].filter((each) => each.offsetHeight)
        .map((each) => each.querySelector("tbody").dataset.scale)"""
    choose = """[...document.querySelectorAll(".switch label")].find((each) => each.textContent.includes("short"))
        .querySelector("input").click()"""
    for path in (page, plain):
        assert visit(path, steps(state, f"{choose} ?? {state}")).result == [["paper_bf16"], ["short"]]
    digits = 'document.querySelector("#digits tbody").dataset.scale'
    assert visit(page, digits).result == "quick"


def test_details_of_a_row_open_by_keyboard_and_without_scripts(page, visit):
    script = """(() => { const details = document.querySelector("#main .pane tbody details");
        details.querySelector("summary").focus(); const focused = document.activeElement.tagName;
        details.open = true; return [focused, details.textContent]; })()"""
    focused, words = visit(page, script).result
    assert focused == "SUMMARY"
    assert "main_cifar10: CIFAR-10, seeds 0, 1, 150 epochs" in words


def test_the_ledger_filters_by_verdict_section_and_words(page, visit, claims):
    verdict, section = claims[0]["verdict"], claims[0]["section"]
    word = max(claims[0]["statement"].split(), key=len).strip(",.;:“”()").upper()
    script = steps(
        f'document.querySelector(`.bar a[data-verdict="{verdict}"][data-section="{section}"]`).click()'
        f" ?? {SHOWN_CLAIMS}",
        STATUS,
        f'document.querySelector(`.legend a[data-verdict="{verdict}"]`).click() ?? {SHOWN_CLAIMS}',
        f"""(() => {{ const box = document.querySelector("#claims input"); box.value = "{word}";
            box.dispatchEvent(new Event("input")); return {SHOWN_CLAIMS}; }})()""",
        f"document.querySelector(`.findings a`).click() ?? {SHOWN_CLAIMS}",
    )
    by_both, status, by_verdict, by_word, after = visit(page, script).result
    alike = [claim for claim in claims if claim["verdict"] == verdict]
    assert by_both == [claim["claim"] for claim in alike if claim["section"] == section]
    assert status == f"{len(by_both)} of {len(claims)} claims shown"
    assert by_verdict == [claim["claim"] for claim in alike]
    assert claims[0]["claim"] in by_word
    assert set(by_word) < set(by_verdict)
    assert len(after) == len(claims)  # a finding's link leads to its claim, whatever was filtered


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_sorts_by_value_with_gaps_last(page, visit, width):
    order = f'{TABLE}.tHead.rows[1].cells[{BEST}].getAttribute("aria-sort")'
    state = f"[{order}, {CELLS}]"
    before, up, down, after = visit(page, steps(state, *[f"{CLICK} ?? {state}"] * 3), width).result
    assert [each[0] for each in (before, up, down, after)] == ["none", "ascending", "descending", "none"]
    for state, reverse in ((up, False), (down, True)):
        numbers = [float(text.split()[0]) for text in state[1] if text != "not run"]
        assert numbers == sorted(numbers, reverse=reverse)
        assert state[1][: len(numbers)] == [text for text in state[1] if text != "not run"]
    assert numbers != [float(text.split()[0]) for text in before[1] if text != "not run"]
    assert after == before


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
    assert visit(plain, script).result == [len(claims), 0]


def test_it_prints_on_fewer_than_25_pages(page, tmp_path):
    path = tmp_path / "page.pdf"
    command = [find_browser(), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={path}",
               page.as_uri()]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    pages = len(re.findall(rb"/MediaBox \[", path.read_bytes()))
    assert 5 < pages < 25


@pytest.fixture(scope="module")
def npm(tmp_path_factory):
    """A folder into which npm has put a package, or a skip that says what is missing."""

    def install(package: str) -> Path:
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed")
        folder = tmp_path_factory.mktemp("npm")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), package]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        if done.returncode:
            pytest.skip(f"npm could not install {package}: {done.stderr[-300:]}")
        return folder / "node_modules" / package

    return install


def test_axe_finds_no_violation(page, visit, npm):
    axe = (npm("axe-core") / "axe.min.js").read_text()
    checked = page.with_name("axe.html")
    loaded = page.read_text().replace("</body>", f"<script>{axe}</script></body>")
    checked.write_text(loaded)
    rules = "(await axe.run(document)).violations.map((each) => [each.id, each.nodes.map((node) => node.html)])"
    for width in WIDTHS:
        seen = visit(checked, f"(async () => {rules})()", width, waits=True)
        assert seen.result == []


def test_vnu_finds_no_error(page, npm):
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    jar = next(npm("vnu-jar").rglob("vnu.jar"))
    done = subprocess.run(["java", "-jar", str(jar), "--errors-only", "--format", "json", str(page)],
                          capture_output=True, text=True, timeout=240)  # fmt: skip
    assert json.loads(done.stderr)["messages"] == []
