"""The table of the real files and their rows in table VI, with and without exports."""

import json
import shutil

import pytest

from repro.analysis import load_evidence
from repro.report import TABLES


def build(factory, name):
    return TABLES[name].build(load_evidence(factory.config, factory.results))


def shown(factory, name):
    return TABLES[name].show(build(factory, name))


def test_without_exports_the_tables_say_not_run(factory):
    factory.write("main_cifar10", "paper")
    frame = shown(factory, "inference")
    assert set(frame.index.get_level_values("row")) == {
        "4-bit, CIFAR-10 (main_cifar10)",
        "FP32, same training (fp32_cifar10)",
    }
    assert (frame["Latency at batch 1 (ms)"] == "not run").to_numpy().all()
    files = shown(factory, "table6").loc[("paper", "CIFAR-10 in the paper: 4-bit file (safetensors), whole")]
    assert files["Measured here", "MB"] == "not run"
    assert files["Arithmetic (section III-E)", "MB"] == "–"


def test_real_sizes_stand_beside_the_papers_count_and_arithmetic(factory):
    factory.export(factory.write("main_cifar10", "paper"))
    table = shown(factory, "table6").loc["paper"]
    for row, arithmetic, measured in (
        ("4-bit file (safetensors), without metadata", "1.652", "1.652 (n = 1)"),
        ("4-bit file (safetensors), whole", "–", "1.660 (n = 1)"),
        ("4-bit file (ONNX, INT4), whole", "–", "1.658 (n = 1)"),
    ):
        cells = table.loc[f"CIFAR-10 in the paper: {row}"]
        assert cells["Paper", "as printed"] == "1.55"
        assert cells["Arithmetic (section III-E)", "MB"] == arithmetic
        assert cells["Measured here", "MB"] == measured


def test_the_inference_table_has_a_row_an_exported_experiment(factory):
    factory.export(factory.write("main_cifar10", "paper", best=0.9))
    factory.write("main_cifar10", "paper", seed=1, best=0.8)  # not exported: in no cell
    factory.export(factory.write("fp32_cifar10", "quick"), onnx=False)
    frame = shown(factory, "inference")
    assert list(frame.index) == [
        ("paper", "4-bit, CIFAR-10 (main_cifar10)"), ("quick", "FP32, same training (fp32_cifar10)"),
    ]  # fmt: skip
    ours = frame.loc[("paper", "4-bit, CIFAR-10 (main_cifar10)")]
    assert ours["Test accuracy", "ONNX (%)"].startswith("88.80 (n = 1, SE 0.32)")
    assert ours["ONNX file", "difference (ppm)"] == "0.44 (n = 1)"
    assert ours["ONNX file", "machine"] == "x86_64 · a processor, 1 thread"
    assert ours["Latency at batch 128 (ms)", "ONNX INT4"] == "512.03 (n = 1)"
    other = frame.loc[("quick", "FP32, same training (fp32_cifar10)")]
    assert other["Test accuracy", "ONNX (%)"] == "not run"
    assert other["Test accuracy", "safetensors (%)"] != "not run"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 9}, "schema version 9"),
        ({"seed": 3}, "not of the record beside it"),
        ({"packed": None}, "not a readable export"),
        ({"extra": 1}, "not a readable export"),
    ],
)
def test_a_damaged_export_is_listed_with_its_reason(factory, change, message):
    folder = factory.write("main_cifar10")
    factory.export(folder)
    path = folder / "export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (error,) = load_evidence(factory.config, factory.results).unreadable["error"]
    assert message in error
    assert "export.json" in error


def test_an_export_travels_with_its_folder(factory):
    home = factory.write("main_cifar10")
    factory.export(home)
    shutil.move(home, factory.results / "quick" / "elsewhere" / home.name)
    assert (load_evidence(factory.config, factory.results).runs["file_bytes"] == 1659528).all()
