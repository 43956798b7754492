"""The processor's name from texts as Linux and Android write them."""

import pytest

from repro.records import processor
from repro.records.processor import name_from, processor_name

X86 = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Some Processor @ 2.20GHz\n\nprocessor\t: 1\n" * 2
CORE = (
    "processor\t: {index}\nBogoMIPS\t: 38.40\nCPU implementer\t: {maker}\nCPU architecture: 8\nCPU part\t: {part}\n\n"
)


def cores(*parts, maker="0x41"):
    return "".join(CORE.format(index=index, part=part, maker=maker) for index, part in enumerate(parts))


PHONE = cores(*["0xd05"] * 4, *["0xd0d"] * 4)


@pytest.mark.parametrize(
    ("cpuinfo", "device", "expected"),
    [
        (X86, "a board", "Some Processor @ 2.20GHz"),
        (PHONE + "Hardware\t: Qualcomm Technologies, Inc SM8250\n", "a phone",
         "Qualcomm Technologies, Inc SM8250, 4 x Cortex-A55 + 4 x Cortex-A77"),
        (PHONE, "OnePlus LE2101", "OnePlus LE2101, 4 x Cortex-A55 + 4 x Cortex-A77"),
        (cores("0xd08", "0xd08"), "Some Board Rev 1.4", "Some Board Rev 1.4, 2 x Cortex-A72"),
        (cores("0x804", maker="0x51"), "", "1 x core 0x51/0x804"),
        (cores("0xd0c") + "Hardware\t: \n", "", "1 x Neoverse-N1"),
        ("processor\t: 0\n", "", ""),
    ],
)  # fmt: skip
def test_the_name_is_the_processors_or_the_machines_with_its_cores(cpuinfo, device, expected):
    assert name_from(cpuinfo, lambda: device) == expected


def test_android_is_asked_where_there_is_no_device_tree(monkeypatch, tmp_path):
    tool = tmp_path / "getprop"
    tool.write_text(
        "#!/bin/sh\ncase $1 in ro.soc.model) echo SM8250;; ro.product.model) echo LE2101;; "
        "ro.product.manufacturer) echo OnePlus;; esac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert processor._android_name() == "OnePlus LE2101, SM8250"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert processor._android_name() == ""


def test_this_machine_has_a_name_without_a_line_break():
    assert "\n" not in processor_name()
