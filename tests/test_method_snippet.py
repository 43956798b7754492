"""The method that docs/methods.md adds works as printed: file, line of the registry, block."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from repro.records import find_records
from tests.conftest import PROJECT


def test_the_printed_quantiser_trains(tmp_path: Path) -> None:
    text = (PROJECT / "docs" / "methods.md").read_text()
    code = textwrap.dedent(re.search(r"^ *```python\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)[1])
    line = re.search(r"`(\"percentile\": Quantizer\((.*)\))`", text)
    module = re.search(r"(repro\.quant\.\w+):", line[2])[1].replace(".", "/")
    block = re.search(r"`(quantizer: \{name: percentile.*?\})`", text)[1]

    shutil.copytree(PROJECT / "repro", tmp_path / "repro", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / f"{module}.py").write_text(code)
    registry = tmp_path / "repro" / "config" / "registry.py"
    start = re.search(r"^QUANTIZERS\b.*\{\n", registry.read_text(), re.MULTILINE)[0]
    registry.write_text(registry.read_text().replace(start, f"{start}    {line[1]},\n"))
    own = f"\n  ablation_percentile:\n    group: ablation\n    title: clipped at a percentile\n    {block}\n"
    (tmp_path / "config.yaml").write_text((PROJECT / "config.yaml").read_text() + own)

    command = [sys.executable, "-m", "repro", "train", "ablation_percentile", "--scale", "smoke", "--no-track"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (path,) = find_records(tmp_path / "results")
    record = json.loads(path.read_text())  # this process has no such method
    assert record["spec"]["quantizer"] == {"name": "percentile", "bit_width": 4, "percentile": 99.9}
    assert all(2 <= layer["levels"] <= 15 for layer in record["layers"] if layer["quantized"])
