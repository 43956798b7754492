"""The library where it cannot be compiled, kept or loaded: torch's operators run, after one line at most."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from repro.kernels import library as get_library
from repro.records import find_records, read_record

module = sys.modules["repro.kernels.library"]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kernels are built on Linux alone")
compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty cache, no settings of the user's, and nothing loaded before or after."""
    for name in ("CC", "REPRO_KERNELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CFLAGS", "-O0")  # compiles in a fraction of the time
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    get_library.cache_clear()
    yield
    get_library.cache_clear()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("repro.kernels")]


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.so"))


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@compiler
def test_compiled_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert get_library() is not None
    (path,) = kept(tmp_path)
    assert list(path.parent.iterdir()) == [path], "what was being written is gone"
    get_library.cache_clear()
    monkeypatch.setattr(module, "_build", None)  # a second build would fail
    assert get_library() is not None
    assert lines(caplog) == []


def test_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("REPRO_KERNELS", "torch")
    assert get_library() is None
    assert kept(tmp_path) == []
    assert lines(caplog) == [], "whoever asked for it needs no line"


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems(system: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module.sys, "platform", system)
    assert get_library() is None
    (line,) = lines(caplog)
    assert system in line


@pytest.mark.parametrize(
    ("cc", "words"),
    [
        ("/nonexistent", "no C compiler '/nonexistent'"),
        ("false", "false failed: exit status 1"),
        ("/etc/passwd", "no C compiler"),  # there, and not to be run
        ("'open", "quotation"),
    ],
)
def test_compilers_that_are_none(
    cc: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", cc)
    for _ in range(2):
        assert get_library() is None
    (line,) = lines(caplog)
    assert words.lower() in line.lower()
    assert "\n" not in line
    assert "torch's own operators run" in line
    assert kept(tmp_path) == []
    assert not list((tmp_path / "cache").rglob(".kernels*"))


def test_a_compiler_with_much_to_say_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", script(tmp_path / "mycc", r"printf 'first \377\n second\n' >&2; exit 2"))
    assert get_library() is None
    (line,) = lines(caplog)
    assert "first" in line
    assert "second" not in line


def test_a_compiler_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = time.monotonic()
    for name in ("COMPILE_SECONDS", "VERSION_SECONDS"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, 0.5)
            waits = '[ "$1" = --version ] || exec sleep 60' if name == "COMPILE_SECONDS" else "exec sleep 60"
            patch.setenv("CC", script(tmp_path / name, waits))
            get_library.cache_clear()
            assert get_library() is None
    assert time.monotonic() - start < 30
    assert [line.count("timed out") for line in lines(caplog)] == [1, 1]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@compiler
@pytest.mark.parametrize("broken", ["read-only", "a file", "no home"])
def test_no_cache_folder(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Compiled for this process alone."""
    if broken == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    elif broken == "a file":
        (tmp_path / "cache").write_text("no folder")
    else:  # as root writes anywhere, the folder is one that no one writes to
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    assert get_library() is not None
    assert lines(caplog) == []


@compiler
def test_home_serves_without_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_library() is not None
    assert list((tmp_path / ".cache" / "repro-kernels").glob("kernels-*.so"))


@compiler
@pytest.mark.parametrize("damage", ["empty", "half", "noise", "no library"])
def test_a_damaged_library_is_compiled_anew(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a process of its own: loading half a library can kill."""
    assert get_library() is not None
    (path,) = kept(tmp_path)
    good = path.read_bytes()
    flipped = bytes([good[5000] ^ 255])
    bad = {
        "empty": b"",
        "half": good[: len(good) // 2],
        "noise": good[:5000] + flipped + good[5001:],
        "no library": b"hello" * 100,
    }[damage]
    path.unlink()  # it is mapped here
    path.write_bytes(bad)
    again = run_python("from repro.kernels import library; print(library() is not None)")
    assert (again.returncode, again.stdout.strip(), again.stderr) == (0, "True", "")
    assert path.read_bytes() == good


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


@compiler
def test_two_processes_compile_at_once(tmp_path: Path) -> None:
    code = "from repro.kernels import library; print(library().norm_apply_f32 is not None)"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (out.strip(), err) == ("True", "")
    (path,) = kept(tmp_path)
    assert list(path.parent.iterdir()) == [path]


@compiler
def test_the_key_is_of_all_that_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key() -> str:
        keys: list[str] = []
        with monkeypatch.context() as patch:
            patch.setattr(module, "_build", lambda command, path: keys.append(path.name) or path)
            patch.setattr(module.ctypes, "CDLL", lambda path: path)
            module._load()
        return keys[0]

    seen = [key()]
    assert key() == seen[0]
    monkeypatch.setenv("CFLAGS", "-O1")
    seen.append(key())
    monkeypatch.setattr(module, "_processor", lambda: "another processor")
    seen.append(key())
    source = tmp_path / "source"
    shutil.copytree(module.SOURCE, source)
    monkeypatch.setattr(module, "SOURCE", source)
    assert key() == seen[-1]
    for file in sorted(source.iterdir()):
        file.write_text(file.read_text() + "/* changed */\n")
        seen.append(key())
    real = shutil.which("cc")
    for version in ("1", "2"):  # behind a launcher, as ccache is one
        text = f'shift; [ "$1" = --version ] && echo {version} && exit; exec {real} "$@"'
        monkeypatch.setenv("CC", f"{script(tmp_path / 'launcher', text)} cc")
        seen.append(key())
    assert len(set(seen)) == len(seen)


@compiler
def test_compiles_without_a_warning() -> None:
    sources = [str(path) for path in sorted(module.SOURCE.glob("*.c"))]
    command = ["cc", *module.FLAGS.split(), "-Wall", "-Wextra", "-Werror", "-o", os.devnull, *sources, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_source_is_in_the_wheel(project: Path) -> None:
    settings = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["repro"]
    package = project / "repro"
    packed = {path for pattern in settings for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others - packed == set()
    assert {path for path in packed if path.suffix in (".c", ".h")} == set(module.SOURCE.iterdir())


@pytest.mark.parametrize(
    ("environment", "step", "said"),
    [
        ({"CC": "/nonexistent"}, "torch", "no C compiler '/nonexistent'"),
        ({"CC": "false"}, "torch", "false failed"),
        ({"REPRO_KERNELS": "torch"}, "torch", ""),
        ({"REPRO_KERNELS": "troch"}, "fused", "REPRO_KERNELS='troch' does not leave out the kernels here"),
        ({}, "fused", ""),
    ],
)
def test_training_as_typed(
    environment: dict[str, str], step: str, said: str, tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step == "fused" and shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    monkeypatch.undo()  # the user's own cache: what is tried here is whether it trains
    shutil.copy(project / "config.yaml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "repro", "train", "main_cifar10", "--scale", "smoke"],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    about = [line for line in done.stderr.splitlines() if "kernels here" in line]
    assert len(about) == bool(said)
    assert all(said in line for line in about)
    (path,) = find_records(tmp_path / "results")
    assert read_record(path).environment["kernels"]["step"] == step
