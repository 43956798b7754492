"""A PTQ run: from the FP32 run's weights to a record that every reader takes; and weights that are brought back."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from repro.analysis import load_evidence
from repro.analysis.rows import load_run
from repro.cli import main
from repro.config import Config, Plan, Run
from repro.config.runs import ZERO_RATE_WEIGHTS_NAME
from repro.data import Split
from repro.errors import ReproError
from repro.ptq import attach_stored
from repro.ptq.calibration import CALIBRATION_IMAGES
from repro.records import find_records, read_csv_rows, read_record
from repro.status import FINISHED, scale_status
from repro.tracking.content import read_mirror
from repro.train import Interrupted, Settings, Trainer, quantize_run, restore_weights, train_run
from repro.train.post_training import calibration_images
from repro.train.surroundings import load_data


@pytest.fixture(scope="module")
def plan(config: Config) -> Plan:
    return Plan(config, "smoke")


@pytest.fixture(scope="module")
def fp32(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the FP32 run."""
    results = tmp_path_factory.mktemp("fp32")
    train_run(plan.run("fp32_cifar10", 0), Settings(results=results))
    return results


@pytest.fixture
def results(fp32: Path, tmp_path: Path) -> Path:
    """A copy of it that the test may change."""
    return Path(shutil.copytree(fp32, tmp_path / "results"))


def quantize(plan: Plan, results: Path, name: str = "ptq4_cifar10") -> tuple[Run, Run]:
    run = plan.run(name, 0)
    source = plan.source(run)
    assert source is not None
    quantize_run(run, source, Settings(results=results, group="ptq"))
    return run, source


def test_the_record_names_its_source_and_every_reader_takes_it(plan: Plan, results: Path) -> None:
    run, source = quantize(plan, results)
    record = read_record(run.record_path(results))
    assert record.summary["source_run"] == source.key == f"smoke/{source.spec_hash}/seed0"
    trained = read_record(source.record_path(results)).summary["final_test_accuracy"]
    assert record.summary["source_test_accuracy"] == pytest.approx(trained)
    assert record.spec["ptq"] == {"name": "absmax", "bit_width": 4, "source": "last", "bias_correction": "own"}
    assert record.timing["train_images_per_second"] is None
    assert record.summary["final_train_accuracy"] is None
    assert record.summary["quantized_weights"] == sum(layer["weights"] for layer in record.layers)
    assert all(1 < layer["levels"] <= 15 and layer["quantized"] for layer in record.layers)
    assert record.size["packed_bytes"] < record.size["fp32_bytes"] / 3
    channels, _ = quantize(plan, results, "ptq4_channel_cifar10")
    more = read_record(channels.record_path(results)).size["packed_bytes"] - record.size["packed_bytes"]
    assert more == 4 * sum(layer["shape"][0] - 1 for layer in record.layers), "a scale an output channel"
    (row,) = read_csv_rows(run.directory(results) / "epochs.csv")
    assert int(row["epoch"]) == run.spec["epochs"]
    assert row["train_loss"] == row["learning_rate"] == row["gradient_norm"] == ""
    assert float(row["test_accuracy"]) == record.summary["best_test_accuracy"]
    evidence = load_evidence(plan.config, results)
    assert evidence.unreadable.empty
    (seen,) = evidence.select("smoke", "ptq4_cifar10").to_dict("records")
    assert (seen["quantizer"], seen["bit_width"]) == ("PTQ absmax", 4)
    assert seen["recipe"] == evidence.select("smoke", "fp32_cifar10")["recipe"].iloc[0]
    assert read_mirror(run.record_path(results)).summary["summary/final_test_accuracy"] == seen["final_test_accuracy"]
    (state,) = [entry for entry in scale_status(plan, results) if entry.run == run]
    assert (state.state, state.epoch, state.run.epochs_to_train, state.seconds_left) == (FINISHED, 0, 0, 0.0)


def test_the_file_gives_the_recorded_accuracy(plan: Plan, results: Path) -> None:
    run, _ = quantize(plan, results, "ptq4_aciq_cifar10")
    data = load_data(run, None)
    trainer = Trainer(run.spec, run.seed, data, torch.device("cpu"))
    attach_stored(trainer.model, torch.load(run.weights_path(results), weights_only=True), bit_width=4)
    record = read_record(run.record_path(results))
    assert trainer.evaluate(data.test)[1] == record.summary["final_test_accuracy"]


def test_8_bits_give_what_fp32_gave(plan: Plan, results: Path) -> None:
    run, source = quantize(plan, results, "ptq8_cifar10")
    losses = [read_record(r.record_path(results)).summary["final_test_loss"] for r in (run, source)]
    assert losses[0] == pytest.approx(losses[1], abs=0.02)


def test_finished_is_only_read(plan: Plan, results: Path) -> None:
    run, source = quantize(plan, results)
    stamp = run.record_path(results).stat().st_mtime_ns
    source.weights_path(results).unlink()
    quantize(plan, results)
    assert run.record_path(results).stat().st_mtime_ns == stamp


@pytest.fixture
def anywhere(everywhere: Config) -> Plan:
    return Plan(everywhere, "smoke")


def test_weights_where_the_rate_is_zero(anywhere: Plan, results: Path) -> None:
    """At 8 bits nearly FP32's accuracy at that epoch, not at its last; the row stands at the epoch."""
    run, source = quantize(anywhere, results, "ptq4_zero_rate_cifar10")
    eight = replace(run, spec={**run.spec, "ptq": {**run.spec["ptq"], "bit_width": 8}}, spec_hash="0" * 8)
    quantize_run(eight, source, Settings(results=results))
    (row,) = read_csv_rows(eight.directory(results) / "epochs.csv")
    training = {int(r["epoch"]): float(r["test_loss"]) for r in read_csv_rows(source.directory(results) / "epochs.csv")}
    assert int(row["epoch"]) == 2 < max(training)
    assert float(row["test_loss"]) == pytest.approx(training[2], abs=0.01)
    assert abs(training[3] - training[2]) > 0.03, "else the test says nothing"
    assert quantizer_names(results) == {"PTQ absmax, source zero_rate"}


def quantizer_names(results: Path) -> set[str]:
    """What readers call the quantisers of the PTQ records there."""
    loaded = [load_run(path, results) for path in find_records(results)]
    return {str(run.row["quantizer"]) for run in loaded if "source_run" in run.record.summary}


def test_weights_at_rate_zero_that_are_not_there(anywhere: Plan, results: Path) -> None:
    source = anywhere.run("fp32_cifar10", 0)
    (source.directory(results) / ZERO_RATE_WEIGHTS_NAME).unlink()
    with pytest.raises(ReproError, match=r"zero-rate\.pt is not there: .* delete .*weights\.pt, .* repro weights fp32"):
        quantize(anywhere, results, "ptq4_zero_rate_cifar10")
    run = anywhere.run("ptq4_zero_rate_cifar10", 0)
    never = replace(source, spec={**source.spec, "schedule": {"name": "constant"}})
    with pytest.raises(ReproError, match="does not reach zero before its end"):
        quantize_run(run, never, Settings(results=results))


def test_no_weights_says_what_makes_them(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(ReproError, match=r"python -m repro weights fp32_cifar10 --scale smoke --seed 0"):
        quantize(plan, tmp_path)


@pytest.mark.parametrize("content", [b"half a file", None])
def test_weights_of_something_else(plan: Plan, results: Path, content: bytes | None) -> None:
    path = plan.run("fp32_cifar10", 0).weights_path(results)
    torch.save({"layers.conv1.weight": torch.zeros(3)}, path)
    if content:
        path.write_bytes(content)
    with pytest.raises(ReproError, match=r"weights\.pt: damaged" if content else r"weights\.pt: not the weights"):
        quantize(plan, results)


def test_a_ptq_run_is_never_trained(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(ReproError, match="ptq4_cifar10 trains nothing"):
        train_run(plan.run("ptq4_cifar10", 0), Settings(results=tmp_path))


def test_calibration_set(plan: Plan) -> None:
    data = load_data(plan.run("fp32_cifar10", 0), None)
    whole = calibration_images(data, 0, torch.device("cpu"))
    assert whole.shape == (len(data.train.labels), 3, 32, 32), "fewer than 1,024: all of them"
    large = load_data(Plan(plan.config, "quick").run("fp32_cifar100", 0), None)
    more = replace(large, train=Split(large.train.images.repeat(2, 1, 1, 1), large.train.labels.repeat(2)))
    one, again, other = (calibration_images(more, seed, torch.device("cpu")) for seed in (0, 0, 1))
    assert len(one) == CALIBRATION_IMAGES < len(more.train.labels)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def weights_of(run: Run, results: Path) -> Mapping[str, Any]:
    return torch.load(run.weights_path(results), weights_only=True)


def test_lost_weights_come_back_and_the_record_stays(
    plan: Plan, results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a fresh clone: a record, no weights."""
    run = plan.run("fp32_cifar10", 0)
    before, record = weights_of(run, results), run.record_path(results).read_bytes()
    shutil.rmtree(run.directory(results))
    run.directory(results).mkdir()
    run.record_path(results).write_bytes(record)
    steps = iter(range(100))
    with pytest.raises(Interrupted):
        restore_weights(run, Settings(results=results, stop=lambda: next(steps) >= 2))
    assert not run.weights_path(results).exists()
    assert find_records(results) == [run.record_path(results)], "the folder aside is no place for records"
    assert restore_weights(run, Settings(results=results)) == run.weights_path(results)
    after = weights_of(run, results)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert run.record_path(results).read_bytes() == record
    assert sorted(path.name for path in results.iterdir()) == ["smoke"]
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]


def test_other_weights_than_the_recorded_ones_are_said(
    plan: Plan, results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = plan.run("fp32_cifar10", 0)
    text = run.record_path(results).read_text()
    accuracy = read_record(run.record_path(results)).summary["final_test_accuracy"]
    run.record_path(results).write_text(
        text.replace(f'"final_test_accuracy": {accuracy}', '"final_test_accuracy": 0.987')
    )
    run.weights_path(results).unlink()
    restore_weights(run, Settings(results=results))
    assert "the record 98.70 %" in caplog.text


def test_weights_command(plan: Plan, tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a PTQ experiment: trains what it takes; a second time nothing; then the PTQ run finds them."""
    common = ["--scale", "smoke", "--results", str(tmp_path), "--config", str(project / "config.yaml")]
    source = plan.run("fp32_cifar10", 0)
    assert main(["train", "ptq4_mse_cifar10", *common]) == 1
    assert "python -m repro weights" in capsys.readouterr().err
    assert main(["weights", "ptq4_mse_cifar10", *common]) == 0
    assert source.record_path(tmp_path).exists()
    stamp = source.weights_path(tmp_path).stat().st_mtime_ns
    assert main(["weights", "fp32_cifar10", *common]) == 0
    assert source.weights_path(tmp_path).stat().st_mtime_ns == stamp
    assert main(["train", "ptq4_mse_cifar10", *common]) == 0
    accuracy = read_record(source.record_path(tmp_path)).summary["final_test_accuracy"]
    assert f"from the weights of {source.key} ({accuracy:.2%})" in capsys.readouterr().out
    assert main(["weights", "ptq4_mse_cifar10", *common, "--expect-spec", "00000000"]) == 1
    capsys.readouterr()
    assert main(["status", *common[:4], "--config", str(project / "config.yaml")]) == 0
    assert "0/0" not in capsys.readouterr().out
    assert main(["list", *common]) == 0
    assert "weights of fp32_cifar10" in capsys.readouterr().out
