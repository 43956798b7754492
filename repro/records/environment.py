"""What a run ran on: versions, commit, machine. Names and counts only, no paths and no host name."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import repro
from repro.records.processor import processor_name as processor_name  # used from here by others


def available_cores() -> int:
    """Cores this process may use (a container may allow fewer than the machine has)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def has_gpu() -> bool:
    """Whether an NVIDIA driver is installed, answered without importing torch."""
    return shutil.which("nvidia-smi") is not None


def describe_environment() -> dict[str, object]:
    """Python, operating system, processor, cores, the suite's version and commit."""
    commit, dirty = _git_state()
    return {
        "repro": repro.__version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": processor_name(),
        "cores": available_cores(),
    }


def peak_memory_bytes() -> int | None:
    """Largest resident size of this process so far; ``None`` where the system does not tell."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _git_state() -> tuple[str | None, bool | None]:
    """Commit of the suite's own checkout, and whether tracked files were changed; ``None`` outside one."""
    folder = Path(repro.__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", "."],
            cwd=folder, capture_output=True, text=True, check=True, timeout=10,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(changed)
