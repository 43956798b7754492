"""What a training says on a terminal and in a log."""

import io
import os
import subprocess
import sys

import pytest

from repro.train.progress import LineProgress, make_progress

ROW = {
    "epoch": 1, "train_accuracy": 0.5, "train_loss": 1.0, "test_accuracy": 0.25, "test_loss": 2.0,
    "learning_rate": 1e-3, "images_per_second": 100.0, "wall_seconds": 60.0,
}  # fmt: skip


def on_a_terminal(program: str) -> str:
    """Everything that a program writes to standard error, a terminal."""
    primary, secondary = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", program], stderr=secondary, env=environment, check=True, timeout=120)
    os.close(secondary)
    text = b""
    while True:
        try:
            part = os.read(primary, 65536)
        except OSError:  # the end, as Linux tells it of a pseudo-terminal
            part = b""
        if not part:
            return text.decode()
        text += part


def test_runs_in_turns_share_one_display() -> None:
    """With a display each, both would draw on the same line: one display of two bars goes up a line to redraw."""
    pytest.importorskip("rich")
    program = f"""
from repro.train.progress import make_progress
one, two = make_progress(), make_progress()
one.start("first run", 2, 0); two.start("second run", 2, 0)
for step in range(1, 4):
    one.step(step, 3); two.step(step, 3)
    one.display.refresh() if hasattr(one, "display") else one._bar.refresh()
one.epoch({ROW!r}); one.close()
two.step(1, 3); two.epoch({ROW!r}); two.close()
"""
    text = on_a_terminal(program)
    assert "\x1b[1A" in text, "the display has two lines"
    assert "first run: epoch 1/2: train 50.00%" in text
    assert "second run: epoch 1/2: train 50.00%" in text
    assert text.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_a_log_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.start("main_cifar10 quick seed0", 3, 1)
    progress.epoch({**ROW, "epoch": 2})
    progress.close()
    assert stream.getvalue().splitlines()[0] == "main_cifar10 quick seed0: 3 epochs, resumed after 1"
    assert "epoch 2/3: train 50.00% (loss 1.0000), test 25.00%" in stream.getvalue()
    monkeypatch.setattr(sys, "stderr", stream)
    assert isinstance(make_progress(), LineProgress)
