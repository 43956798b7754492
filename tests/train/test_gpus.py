"""Machines with several GPUs: each training sees one of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repro.train import gpus
from repro.train.gpus import VISIBLE, hold_a_gpu

HOLDER = """
import sys, time
from pathlib import Path
from repro.train import gpus
gpus.DEVICES = Path(sys.argv[1])
print(gpus.hold_a_gpu(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as /dev is with two GPUs, and a temporary folder of the test's own."""
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (folder / name).touch()
    monkeypatch.setattr(gpus, "DEVICES", folder)
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv(VISIBLE, raising=False)
    yield folder
    for file in gpus._held:
        os.close(file)
    os.environ.pop(VISIBLE, None)


def test_each_training_has_its_own_and_a_dead_ones_is_free_again(devices: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(devices)]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        said = [other.stdout.readline().strip() for other in others]
        assert sorted(said) == ["0", "1", "None"], "a third one shares"
        assert hold_a_gpu() is None
        others[said.index("1")].send_signal(signal.SIGKILL)
        others[said.index("1")].wait()
        assert hold_a_gpu() == 1
        assert os.environ[VISIBLE] == "1"
    finally:
        for other in others:
            other.kill()
            other.communicate()


@pytest.mark.parametrize("chosen", ["", "1", "0,1"])
def test_what_a_cluster_or_the_user_chose_stands(devices: Path, monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    monkeypatch.setenv(VISIBLE, chosen)
    assert hold_a_gpu() is None
    assert os.environ[VISIBLE] == chosen


def test_of_one_there_is_nothing_to_choose(devices: Path) -> None:
    (devices / "nvidia1").unlink()
    assert hold_a_gpu() is None
    assert VISIBLE not in os.environ
