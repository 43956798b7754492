"""README's findings, docs/ and the example figures: current with the committed records, and made by one command."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.config import load_config
from repro.errors import ReproError
from repro.report.page.refresh import DEMO, MARKERS, README, generated, refresh

PROJECT = Path(__file__).parents[2]
HINT = "run `python -m repro refresh` and commit what it writes"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """By the committed records alone: whoever adds some of their own breaks nothing."""
    listed = subprocess.run(["git", "ls-files", "results"], cwd=PROJECT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which records are committed is not known")
    folder = tmp_path_factory.mktemp("committed")
    for name in listed.stdout.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    return generated(load_config(PROJECT / "config.yaml"), folder / "results", PROJECT)


def test_what_the_repository_shows_is_current(files):
    for name, content in files.items():
        assert (PROJECT / name).exists(), f"{name}: {HINT}"
        committed = (PROJECT / name).read_bytes()
        if name.endswith(".png"):  # the same picture; its compression is the machine's
            here, there = (
                np.asarray(Image.open(io.BytesIO(data)).convert("L"), float) for data in (committed, content)
            )
            assert here.shape == there.shape, f"{name}: {HINT}"
            assert np.abs(here - there).mean() < 1, f"{name}: {HINT}"
        else:
            assert committed == content, f"{name}: {HINT}"


def test_the_demo_is_one_small_file_that_links_to_nothing_that_is_not_there(files):
    page = files[DEMO].decode()
    assert len(files[DEMO]) < 1.5e6
    links = [link for link in re.findall(r'<a [^>]*href="([^"#][^"]*)"', page) if not link.startswith("https://arxiv")]
    assert set(links) == {"FINDINGS.md"}
    for name in (README, "docs/FINDINGS.md"):
        folder = (PROJECT / name).parent
        found = re.findall(r"\]\(([^)#]+)\)", files[name].decode())
        assert all((folder / link).exists() for link in found if not link.startswith("http")), name


def test_the_command_writes_what_is_not_current_and_then_nothing(tmp_path):
    (tmp_path / README).write_text(f"# A title\n\n{MARKERS[0]}\nstale words\n{MARKERS[1]}\n\nkept\n")
    command = [
        sys.executable,
        "-m",
        "repro",
        "refresh",
        "--project",
        str(tmp_path),
        "--results",
        str(tmp_path / "none"),
    ]
    (tmp_path / "none").mkdir()
    first, second = (subprocess.run(command, capture_output=True, text=True, cwd=PROJECT) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert {README, DEMO, "docs/FINDINGS.md", "report/example/statements.png"} <= set(first.stdout.split())
    assert "current" in second.stdout
    readme = (tmp_path / README).read_text()
    assert readme.startswith("# A title")
    assert readme.endswith("kept\n")
    assert "stale words" not in readme
    assert "no 4-bit run on CIFAR stands beside its full-precision partner" in readme


def test_a_readme_without_its_markers_is_a_users_error(tmp_path):
    (tmp_path / README).write_text("no markers")
    with pytest.raises(ReproError, match="needs the lines"):
        refresh(load_config(PROJECT / "config.yaml"), tmp_path / "none", tmp_path)
