"""What docs/methods.md adds works as printed: file, line of the registry, block."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from repro.records import find_records
from tests.conftest import PROJECT

TEXT = (PROJECT / "docs" / "methods.md").read_text()
CODE = [textwrap.dedent(code) for code in re.findall(r"^ *```python\n(.*?)^ *```", TEXT, re.DOTALL | re.MULTILINE)]
SIZES = {"train": 600, "test": 200}  # of the printed data set
SPECS = {
    "quantizer": {"name": "percentile", "bit_width": 4, "percentile": 99.9},
    "model": {"name": "small", "channels": 16},
    "dataset": {"name": "mine", "train_images": 256, "test_images": None, "validation_fraction": 0.0},
}
TABLES = {"quantizer": "QUANTIZERS", "model": "MODELS", "dataset": "DATASETS"}


@pytest.mark.parametrize("kind", TABLES)
def test_what_is_printed_trains(tmp_path: Path, kind: str) -> None:
    name = SPECS[kind]["name"]
    line = re.search(rf"`(\"{name}\": \w+\((.*)\))`", TEXT)
    module = re.search(r"(repro\.\w+\.\w+):", line[2])[1]
    block = re.search(rf"`({kind}: \{{name: {name}.*?\}})`", TEXT)[1]

    shutil.copytree(PROJECT / "repro", tmp_path / "repro", ignore=shutil.ignore_patterns("__pycache__"))
    (code,) = (
        code
        for code in CODE
        if re.search(rf"^(class|def) {line[2].partition(':')[2].partition(chr(34))[0]}\b", code, re.M)
    )
    (tmp_path / f"{module.replace('.', '/')}.py").write_text(code)
    registry = tmp_path / "repro" / "config" / "registry.py"
    start = re.search(rf"^{TABLES[kind]}\b.*\{{\n", registry.read_text(), re.MULTILINE)[0]
    registry.write_text(registry.read_text().replace(start, f"{start}    {line[1]},\n"))
    own = f"\n  ablation_own:\n    group: ablation\n    title: as printed\n    {block}\n"
    (tmp_path / "config.yaml").write_text((PROJECT / "config.yaml").read_text() + own)
    (tmp_path / "data").mkdir()
    draw = np.random.default_rng(0).integers
    np.savez(
        tmp_path / "data" / "mine.npz",
        **{f"{split}_images": draw(256, size=(count, 16, 16, 3)).astype(np.uint8) for split, count in SIZES.items()},
        **{f"{split}_labels": np.arange(count) % 3 for split, count in SIZES.items()},
    )

    command = [sys.executable, "-m", "repro", "train", "ablation_own", "--scale", "smoke", "--no-track"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (path,) = find_records(tmp_path / "results")
    record = json.loads(path.read_text())  # this process has no such method
    assert record["spec"][kind] == SPECS[kind]
    assert all(2 <= layer["levels"] <= 15 for layer in record["layers"] if layer["quantized"])
