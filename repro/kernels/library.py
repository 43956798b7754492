"""The C kernels as a loaded library: compiled at first use, kept in the user's cache, absent where that fails."""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from repro.text import shown

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("source")
FLAGS = "-O3 -march=native -std=c11 -fno-math-errno -fno-trapping-math -shared -fPIC -pthread"
SWITCH = "REPRO_KERNELS"  # `torch` leaves every kernel out
COMPILE_SECONDS, VERSION_SECONDS = 300, 60  # a compiler that hangs is given up; a busy machine takes ten


class KernelError(Exception):
    """There are no kernels here; the message says why."""


@cache
def library() -> ctypes.CDLL | None:
    """The kernels of this process, or ``None``, after one line that says why torch's own operators run instead."""
    switch = os.environ.get(SWITCH, "")
    if switch == "torch":
        return None
    if switch:
        logger.warning("%s=%s does not leave out the kernels here, %s=torch does", SWITCH, shown(switch), SWITCH)
    try:
        return _load()
    except (KernelError, OSError, subprocess.SubprocessError, ValueError) as error:  # ValueError: quotes in CC
        said = str(error).strip().splitlines() or [type(error).__name__]
        logger.warning("no fused kernels here, torch's own operators run (slower, as correct): %s", said[0])
        return None


def _load() -> ctypes.CDLL:
    if not sys.platform.startswith("linux"):
        raise KernelError(f"they are built on Linux alone, this is {sys.platform}")
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(compiler[0]) is None:
        raise KernelError(f"there is no C compiler {compiler[0]!r} (Debian: apt install gcc)")
    command = [*compiler, *FLAGS.split(), *shlex.split(os.environ.get("CFLAGS", ""))]
    name = f"kernels-{_key(compiler, command)}.so"
    folder = _cache_folder()
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="repro-kernels-") as temporary:
            return ctypes.CDLL(str(_build(command, Path(temporary) / name)))  # stays mapped without its file
    path = folder / name
    return ctypes.CDLL(str(path if _is_whole(path) else _build(command, path)))


def _build(command: list[str], path: Path) -> Path:
    """Compile to ``path``, which appears whole; whoever compiles the same meanwhile replaces it by the same."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        sources = sorted(str(file) for file in SOURCE.glob("*.c"))
        done = _run([*command, "-o", part, *sources, "-lm"], COMPILE_SECONDS)
        if done.returncode != 0:
            raise KernelError(f"{command[0]} failed: {done.stderr.strip() or f'exit status {done.returncode}'}")
        with Path(part).open("r+b") as built:
            digest = hashlib.file_digest(built, "sha256").digest()
            built.write(digest)  # at its end, where no loader looks
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
    return path


def _is_whole(path: Path) -> bool:
    """Whether ``_build`` wrote it: a damaged library can kill the process that loads it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds)


def _cache_folder() -> Path | None:
    """A folder of the user's that can be written, or ``None``."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "repro-kernels"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home
        return None


def _key(compiler: list[str], command: list[str]) -> str:
    """Of source, compiler, C library and processor: ``-march=native`` code kills a process on another one."""
    version = _run([*compiler, "--version"], VERSION_SECONDS).stdout
    parts = [*command, version, *platform.libc_ver(), platform.machine(), _processor()]
    parts += [file.read_text() for file in sorted(SOURCE.iterdir()) if file.suffix in (".c", ".h")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """What decides which instructions there are: model and feature flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU implementer", "CPU part")
    first = lines[: lines.index("")] if "" in lines else lines
    return "\n".join(line for line in first if line.split(":")[0].strip() in wanted)
