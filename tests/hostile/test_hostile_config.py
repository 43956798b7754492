"""Configurations of any content: checked and taken, or refused with lines that name file and field."""

import copy
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.config import ConfigError, Plan, load_config
from tests.hostile.damage import damaged

PROJECT = Path(__file__).parent.parent.parent
WHOLE = yaml.safe_load((PROJECT / "config.yaml").read_text())
KEPT = ("main_cifar10", "fp32_cifar10", "ptq4_cifar10", "ablation_full")
SMALL = {**WHOLE, "experiments": {name: WHOLE["experiments"][name] for name in KEPT}}
SOME = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def load(path: Path) -> None:
    """Load it and resolve every run; a refusal is fit to be printed."""
    try:
        config = load_config(path)
    except ConfigError as error:
        first, *lines = str(error).splitlines()
        assert first.startswith(f"{path}: ")
        assert lines
        assert all(line.replace("\u00a0", " ").isprintable() and len(line) < 3000 for line in lines)
        return
    for scale in config.scales:
        list(Plan(config, scale))


@SOME
@given(data=st.data())
def test_any_value_anywhere(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    try:
        path.write_text(yaml.safe_dump(data.draw(damaged(SMALL)), allow_unicode=True), encoding="utf-8")
    except UnicodeEncodeError:
        return  # no file can hold it
    load(path)


@SOME
@given(content=st.binary(max_size=200) | st.text(alphabet="&*a:[]{}<!>|-?\n \t'\"#0x1e", max_size=60).map(str.encode))
def test_any_bytes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    load(tmp_path / "config.yaml")


ODD = {
    "a whole number of 400 digits": ("seeds: [" + "9" * 400 + "]", "seeds"),
    "one of 5000": ("seeds: [" + "9" * 5000 + "]", "not valid YAML"),
    "one in base 16": ("seeds: [0x" + "f" * 9000 + "]", "seeds"),
    "a date of month 15": ("scale: 2026-15-01", "not valid YAML: month must be in 1..12"),
    "references that multiply": (
        "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(20)), "a20",
    ),
    "a list in lists": ("scale: " + "[" * 5000, "not valid YAML"),
    "something that holds itself": ("scale: &a [*a]", "scale"),
    "an object of Python": ("scale: !!python/object/apply:os.system ['true']", "not valid YAML"),
    "a text of two megabytes": ("scale: " + "x" * 2_000_000, "unknown scale"),
    "ten megabytes": ("scale: " + "x" * 10_000_000, "at most 5 are read"),
    "an escape": ('scale: "\\e[31m"', "unknown scale"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_tires_a_reader_is_refused_at_once(name: str, tmp_path: Path) -> None:
    text, words = ODD[name]
    path, start = tmp_path / "config.yaml", time.monotonic()
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(path)
    load(path)
    assert time.monotonic() - start < 30, "a second or two, on a machine that does nothing else"


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (
            "experiments.main_cifar10.epochs",
            10**9,
            "epochs: 1000000000 is not allowed; expected an integer >= 1 and <=",
        ),
        ("experiments.main_cifar10.epochs", 10**400, "epochs: "),
        ("experiments.main_cifar10.model", {"name": "vgg", "width": 1e-300, "dropout": 0.5}, "width: 1e-300"),
        ("scales.quick.torch_threads", 10**6, "torch_threads: 1000000 is not allowed; expected an integer >= 1"),
        ("scales.quick.width", 1e-300, "width: 1e-300"),
        ("experiments.main_cifar10.gradient_clip", 10**400, "gradient_clip: "),
    ],
)
def test_what_no_machine_can_do_is_refused(tmp_path: Path, place: str, value: Any, expected: str) -> None:
    raw = copy.deepcopy(WHOLE)
    *path, last = place.split(".")
    holder = raw
    for key in path:
        holder = holder[key]
    holder[last] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "config.yaml")
    assert expected in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_pipe_is_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    command = [sys.executable, "-m", "repro", "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "config.yaml: 1 problem\n  cannot be read: no regular file" in done.stderr
