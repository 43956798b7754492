"""The table of the real files and their rows in table VI, with and without exports."""

import json
import shutil

import pytest
from tables_of import grid, rows, shown

from repro.analysis import load_evidence


def test_without_exports_the_tables_say_not_run(factory):
    factory.write("main_cifar10", "paper")
    table = shown(factory, "inference")
    assert set(table) == {"4-bit, CIFAR-10", "FP32, same training"}
    assert {row["torch_fp32_seconds_1"] for row in table.values()} == {"not run"}
    files = shown(factory, "table6")["CIFAR-10: safetensors file, whole"]
    assert (files["ours MB"], files["arithmetic MB"]) == ("not run", "–")


def test_real_sizes_stand_beside_the_papers_count_and_arithmetic(factory):
    factory.export(factory.write("main_cifar10", "paper"))
    table = shown(factory, "table6")
    for row, arithmetic, measured in (
        ("safetensors file, without metadata", "1.652", "1.652"),
        ("safetensors file, whole", "–", "1.660"),
        ("ONNX file, INT4, whole", "–", "1.658"),
    ):
        cells = table[f"CIFAR-10: {row}"]
        assert (cells["paper"], cells["arithmetic MB"], cells["ours MB"]) == ("1.55", arithmetic, measured)


def test_the_inference_table_has_a_row_an_exported_experiment(factory):
    factory.export(factory.write("main_cifar10", "paper", best=0.9))
    factory.write("main_cifar10", "paper", seed=1, best=0.8)  # not exported: in no cell
    factory.export(factory.write("fp32_cifar10", "short"), onnx=False)
    table = grid(factory, "inference", "paper")
    ours = rows(table)["4-bit, CIFAR-10"]
    assert list(rows(table)) == ["4-bit, CIFAR-10"]
    assert ours["onnx_test_accuracy"] == "88.80 (0.32)†"
    assert ours["onnx_logit_difference"] == "0.44†"
    assert ours["machine"] == "x86_64 · a processor, 1 thread"
    assert ours["onnx_int4_seconds_128"] == "512.03†"
    other = shown(factory, "inference", "short")["Unquantised (bf16), same training"]
    assert other["onnx_test_accuracy"] == "not run"
    assert other["file_test_accuracy"] != "not run"


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
