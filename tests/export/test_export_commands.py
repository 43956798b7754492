"""`export` and `evaluate` on a trained run."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch

from repro.cli import main
from repro.records import find_records, read_export, read_record
from repro.records.export import VARIANTS


@dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def repro(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """A command in this process: torch and onnxruntime take seconds to start."""
    monkeypatch.setattr("repro.export.latency.BLOCK_SECONDS", 0.0)

    def run(*arguments: str, cwd: Path) -> Result:
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        return Result(main(arguments), *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Path:
    """A folder with the configuration and a smoke run, trained and exported in processes of their own."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(project / "config.yaml", folder)
    for command, option in (("train", "--no-track"), ("export", "--onnx")):
        line = [sys.executable, "-m", "repro", command, "main_cifar10", "--scale", "smoke", option]
        result = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def run_folder(folder: Path) -> Path:
    (path,) = find_records(folder / "results")
    return path.parent


def test_evaluate_gives_the_records_accuracy_exactly(trained: Path, repro: Callable[..., Result]) -> None:
    home = run_folder(trained)
    summary = read_record(home / "record.json").summary
    result = repro("evaluate", str(home / "model.safetensors"), cwd=trained)
    assert result.returncode == 0, result.stderr
    ours, theirs = result.stdout.splitlines()
    shown = f"test accuracy {summary['final_test_accuracy']:.2%}, loss {summary['final_test_loss']:.6g}"
    assert f"model.safetensors: {shown} on 200 images of digits10 (fp32 on cpu, 1 thread)" in ours
    assert theirs == "record: the same (fp32 on cpu, main_cifar10, scale smoke, seed 0)"


def test_evaluate_reads_onnx_too(trained: Path, repro: Callable[..., Result]) -> None:
    home = run_folder(trained)
    result = repro("evaluate", str(home / "model.onnx"), cwd=trained)
    assert result.returncode == 0, result.stderr
    export = read_export(home, read_record(home / "record.json").spec_hash, 0)
    assert f"test accuracy {export.onnx['test_accuracy']:.2%}" in result.stdout


def test_evaluate_computes_in_integers_with_the_file_for_that(trained: Path, repro: Callable[..., Result]) -> None:
    home = run_folder(trained)
    result = repro("evaluate", str(home / "model-int8.onnx"), cwd=trained)
    assert result.returncode == 0, result.stderr
    export = read_export(home, read_record(home / "record.json").spec_hash, 0)
    assert f"test accuracy {export.integer['test_accuracy']:.2%}" in result.stdout
    assert "(int8 on cpu, 1 thread)" in result.stdout
    result = repro("evaluate", str(home / "model-int8.onnx"), "--precision", "fp32", cwd=trained)
    assert "this ONNX file computes in int8, not in fp32" in result.stderr


def test_another_precision_is_said(trained: Path, repro: Callable[..., Result]) -> None:
    result = repro("evaluate", str(run_folder(trained) / "model.safetensors"), "--precision", "bf16", cwd=trained)
    assert "(bf16 on cpu, 1 thread)" in result.stdout
    assert re.search(r"record: accuracy \d+\.\d\d% \(([+-]\d+\.\d\d points|no difference)\), loss", result.stdout)
    assert "-0.00" not in result.stdout


def test_export_json_says_what_lies_there(trained: Path) -> None:
    home = run_folder(trained)
    record = read_record(home / "record.json")
    export = read_export(home, record.spec_hash, record.seed)
    packed, onnx_part = export.packed, export.onnx
    assert packed["bytes"] == (home / "model.safetensors").stat().st_size
    assert packed["payload_bytes"] == record.size["packed_bytes"]
    assert packed["metadata_bytes"] == packed["bytes"] - packed["payload_bytes"]
    assert (packed["test_accuracy"], packed["logit_difference"]) == (record.summary["final_test_accuracy"], 0)
    assert onnx_part["bytes"] == (home / "model.onnx").stat().st_size
    assert 0 <= onnx_part["logit_difference"] < 1e-4
    assert onnx_part["weights"] == ["INT4"]
    integer = export.integer
    assert integer["bytes"] == (home / "model-int8.onnx").stat().st_size
    assert (integer["weights"], integer["activations"], integer["calibration_images"]) == (["INT4"], "UINT8", 256)
    assert (integer["operators"]["QLinearConv"], integer["operators"]["QGemm"]) == (6, 2)
    assert set(export.latency["seconds"]) == set(VARIANTS)
    assert not any(word in (home / "export.json").read_text() for word in ("/home", "/root", "/tmp"))


def test_a_fresh_process_gives_the_same_bytes(folder: Path, repro: Callable[..., Result]) -> None:
    home = run_folder(folder)
    names = ("model.safetensors", "model.onnx", "model-int8.onnx")
    before = [(home / name).read_bytes() for name in names]
    assert repro("export", "main_cifar10", "--scale", "smoke", "--onnx", cwd=folder).returncode == 0
    assert [(home / name).read_bytes() for name in names] == before


def test_an_older_record_is_completed_with_the_defaults_of_newer_options(
    folder: Path, repro: Callable[..., Result]
) -> None:
    home = run_folder(folder)
    record = json.loads((home / "record.json").read_text())
    del record["spec"]["dataset"]["validation_fraction"]
    (home / "record.json").write_text(json.dumps(record))
    assert repro("export", "main_cifar10", "--scale", "smoke", cwd=folder).returncode == 0
    result = repro("evaluate", str(home / "model.safetensors"), cwd=folder)
    assert "record: the same (" in result.stdout, result.stderr


def spoil(folder: Path, name: str) -> list[str]:
    """Bring about one mistake; the arguments of the command that meets it."""
    home = run_folder(folder)
    packed, weights = home / "model.safetensors", home / "weights.pt"
    export = ["export", "main_cifar10", "--scale", "smoke"]
    if name == "no run":
        return ["export", "fp32_cifar10", "--scale", "smoke", "--seed", "3"]
    if name == "no weights":
        weights.unlink()
        return export
    if name == "damaged weights":
        weights.write_bytes(weights.read_bytes()[:-500])
        return export
    if name == "other weights":
        torch.save({"x": torch.zeros(1)}, weights)
        return export
    if name == "truncated":
        packed.write_bytes(packed.read_bytes()[:-1])
        return ["evaluate", str(packed)]
    if name == "foreign onnx":
        proto = onnx.load(home / "model.onnx")
        del proto.metadata_props[:]
        onnx.save(proto, home / "foreign.onnx")
        return ["evaluate", str(home / "foreign.onnx")]
    if name == "damaged onnx":
        (home / "model.onnx").write_bytes(b"not a graph")
        return ["evaluate", str(home / "model.onnx")]
    return ["evaluate", {"absent": "absent.onnx", "suffix": "config.yaml"}[name]]


MESSAGES = {
    "no run": "no such run yet; `python -m repro train fp32_cifar10 --scale smoke --seed 3` trains it",
    "no weights": "weights.pt: no weights (a clone holds records alone)",
    "damaged weights": "weights.pt: damaged: its end is missing; delete it",
    "other weights": "weights.pt: not the weights of the record beside it; delete it",
    "truncated": "model.safetensors: not a readable safetensors file",
    "foreign onnx": "foreign.onnx: an ONNX file, but not one that `python -m repro export` wrote",
    "damaged onnx": "model.onnx: not a usable ONNX file",
    "absent": "absent.onnx: there is no such file",
    "suffix": "its name ends in neither .safetensors nor .onnx",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_mistake_is_a_message(folder: Path, repro: Callable[..., Result], name: str) -> None:
    result = repro(*spoil(folder, name), cwd=folder)
    assert result.returncode == 1
    assert MESSAGES[name] in result.stderr
