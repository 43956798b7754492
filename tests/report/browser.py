"""A real browser over a page: what its console said, what it asked the network for, what a script found."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr", "--v=0",
)  # fmt: skip
BROWSERS_OWN = (None, "not an origin")  # initiators of its own requests; a page on disk is the origin "null"
# The page stands in a frame that reports to the outer page: a headless window cannot be as narrow as a phone.
REPORT = "Promise.resolve({result}).then((found) => window.parent.postMessage(JSON.stringify(found), '*'))"
OUTER = (
    "<!DOCTYPE html><meta charset=utf-8><title>outer</title><script>addEventListener('message', (event) => "
    "{{ document.body.dataset.result = event.data; }});</script>"
    "<body><iframe src='{page}' style='width:{width}px;height:900px'></iframe></body>"
)


@dataclass(frozen=True)
class Visit:
    """What happened while a page was open.

    Attributes:
        result: What the script returned.
        console: Messages of the console, errors included.
        requests: Addresses on a network that the page asked for.
    """

    result: Any
    console: list[str]
    requests: list[str]


def find_browser() -> str:
    """The browser's path, or a skip that says what is missing."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed (Debian: apt-get install chromium)")
    return found


def opener(folder: Path) -> Callable[..., Visit]:
    """A function that opens pages, each in a fresh profile below ``folder``."""
    browser = find_browser()

    def visit(page: Path, script: str = "null", width: int = 1280, *, waits: bool = False) -> Visit:
        """Open a page, evaluate a script at its end and report.

        Args:
            page: The HTML file.
            script: A JavaScript expression; what it returns must survive JSON.
            width: Width of the page in CSS pixels.
            waits: Whether the script takes seconds.
        """
        text = page.read_text()
        probe = page.with_name(f"{page.stem}-probe.html")
        probe.write_text(text.replace("</body>", f"<script>{REPORT.format(result=script)}</script></body>"))
        outer = page.with_name(f"{page.stem}-outer.html")
        outer.write_text(OUTER.format(page=probe.name, width=width))
        log = folder / "net-log.json"
        budget = f"--virtual-time-budget={60_000 if waits else 5000}"
        command = [browser, *FLAGS, budget, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}",
                   f"--window-size={max(width, 500)},900", "--dump-dom", outer.as_uri()]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
        found = re.search(r'data-result="([^"]*)"', done.stdout)
        assert found, f"the script did not report; the browser said: {done.stderr[-2000:]}"
        console = re.findall(r":CONSOLE[:(]\d+\)?\] (.*)", done.stderr)
        return Visit(json.loads(html.unescape(found[1])), console, _requests(log))

    return visit


def _requests(log: Path) -> list[str]:
    """Network addresses in the browser's own log, those that it asks for by itself left out."""
    addresses = []
    for event in json.loads(log.read_text())["events"]:
        about = event.get("params")
        if isinstance(about, dict) and about.get("initiator") not in BROWSERS_OWN and "url" in about:
            addresses.append(about["url"])
    return [url for url in addresses if not url.startswith(("file:", "data:", "blob:"))]
