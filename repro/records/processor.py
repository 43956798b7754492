"""The processor's name, also where the operating system gives none: ARM's /proc/cpuinfo has numbers in its place."""

import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

# Part numbers of Arm Ltd (implementer 0x41) and others, as in the main ID register's documentation.
CORES = {
    ("0x41", "0xd03"): "Cortex-A53", ("0x41", "0xd05"): "Cortex-A55", ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72", ("0x41", "0xd09"): "Cortex-A73", ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76", ("0x41", "0xd0c"): "Neoverse-N1", ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1", ("0x41", "0xd41"): "Cortex-A78", ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd46"): "Cortex-A510", ("0x41", "0xd47"): "Cortex-A710", ("0x41", "0xd48"): "Cortex-X2",
    ("0x41", "0xd49"): "Neoverse-N2", ("0x41", "0xd4f"): "Neoverse-V2",
}  # fmt: skip
ANDROID_PROPERTIES = ("ro.soc.model", "ro.product.manufacturer", "ro.product.model")


def processor_name() -> str:
    """The processor as the operating system names it; on ARM the machine and its cores, as far as they are known."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return name_from(cpuinfo, _device_name) or platform.processor()


def name_from(cpuinfo: str, device: Callable[[], str]) -> str:
    """The name that a /proc/cpuinfo gives.

    Args:
        cpuinfo: The file's text.
        device: Asked for the machine's name where the file has no processor's.

    Returns:
        Such as ``Snapdragon, 4 x Cortex-A55 + 4 x Cortex-A77``; empty where nothing is known.
    """
    named = re.search(r"^model name\s*: *(\S.*)$", cpuinfo, re.MULTILINE)
    if named:
        return named[1].strip()
    hardware = re.search(r"^Hardware\s*: *(\S.*)$", cpuinfo, re.MULTILINE)
    machine = hardware[1].strip() if hardware else device()
    return ", ".join(part for part in (machine, _cores(cpuinfo)) if part)


def _cores(cpuinfo: str) -> str:
    """The kinds of cores with their numbers; an unknown one by its implementer's and its part's number."""
    found = re.findall(r"^CPU implementer\s*: *(\w+)$.*?^CPU part\s*: *(\w+)$", cpuinfo, re.MULTILINE | re.DOTALL)
    counts: dict[str, int] = {}
    for implementer, part in found:
        name = CORES.get((implementer, part), f"core {implementer}/{part}")
        counts[name] = counts.get(name, 0) + 1
    return " + ".join(f"{count} x {name}" for name, count in counts.items())


def _device_name() -> str:
    """The board's name in the device tree, or the phone's in Android's properties."""
    try:
        return Path("/proc/device-tree/model").read_text().strip("\0 \n")
    except OSError:
        return _android_name()


def _android_name() -> str:
    values = []
    for name in ANDROID_PROPERTIES:
        try:
            asked = subprocess.run(["getprop", name], capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            return ""
        values.append(asked.stdout.strip())
    chip, *phone = values
    return ", ".join(part for part in (" ".join(filter(None, phone)), chip) if part)
