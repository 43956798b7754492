"""A run from start to record: deterministic, resumable bit for bit, and safe against every way to end early."""

import json
import math
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from repro.config import Run
from repro.errors import ReproError
from repro.records import CHECKPOINT_NAME, StorageError, read_csv_rows, read_record
from repro.train import Interrupted, ResumeError, RunBusyError, Settings, train_run
from repro.train.checkpoint import WEIGHTS_NAME
from repro.train.outcome import judge, summarize

MakeRun = Callable[..., Run]


def stop_after(steps: int) -> Callable[[], bool]:
    """A stop request that comes true after so many steps."""
    count = iter(range(1, 10**9))
    return lambda: next(count) >= steps


def weights(results: Path, run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.directory(results) / WEIGHTS_NAME, weights_only=True)


def figures(results: Path, run: Run) -> list[dict[str, str]]:
    timing = ("wall_seconds", "images_per_second")
    rows = read_csv_rows(run.directory(results) / "epochs.csv")
    layers = read_csv_rows(run.directory(results) / "layers.csv")
    return [{key: value for key, value in row.items() if key not in timing} for row in rows] + layers


def assert_same(first: Path, second: Path, run: Run) -> None:
    one, two = weights(first, run), weights(second, run)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert figures(first, run) == figures(second, run)


def test_same_seed_same_bits_and_another_seed_others(tmp_path: Path, tiny_run: MakeRun) -> None:
    run, other = tiny_run(epochs=2), tiny_run(epochs=2, seed=1)
    for folder in ("a", "b"):
        train_run(run, Settings(results=tmp_path / folder))
    train_run(other, Settings(results=tmp_path / "a"))
    assert_same(tmp_path / "a", tmp_path / "b", run)
    assert figures(tmp_path / "a", run) != figures(tmp_path / "a", other)


# with 256 images in batches of 64 an epoch has 4 steps: stops at an epoch's end, in its middle, and twice
@pytest.mark.parametrize("stops", [[4], [6], [1, 2, 3]])
@pytest.mark.parametrize("experiment", ["main_cifar10", "ablation_scale_initial", "fp32_plain_cifar10"])
def test_resumed_equals_uninterrupted(tmp_path: Path, tiny_run: MakeRun, experiment: str, stops: list[int]) -> None:
    run = tiny_run(experiment, epochs=3, batch_size=64)
    train_run(run, Settings(results=tmp_path / "whole"))
    for steps in stops:
        with pytest.raises(Interrupted):
            train_run(run, Settings(results=tmp_path / "parts", stop=stop_after(steps)))
        assert not run.record_path(tmp_path / "parts").exists()
    record = train_run(run, Settings(results=tmp_path / "parts"))
    assert_same(tmp_path / "whole", tmp_path / "parts", run)
    assert record.summary["epochs_run"] == 3
    assert not (run.directory(tmp_path / "parts") / CHECKPOINT_NAME).exists()


@pytest.mark.parametrize("experiment", ["ablation_scale_global", "main_cifar10"])
def test_stopped_between_the_last_epoch_and_the_record(
    tmp_path: Path, tiny_run: MakeRun, monkeypatch: pytest.MonkeyPatch, experiment: str
) -> None:
    """A full disk at the weights or the record: what is written afterwards is what would have been written."""
    run = tiny_run(experiment, epochs=2)
    whole = train_run(run, Settings(results=tmp_path / "whole"))
    for broken in ("save_weights", "write_record"):

        def refuse(*arguments: object) -> None:
            raise StorageError("cannot write: no space")

        with monkeypatch.context() as patch:
            patch.setattr(f"repro.train.run.{broken}", refuse)
            with pytest.raises(StorageError):
                train_run(run, Settings(results=tmp_path / "parts"))
        assert (run.directory(tmp_path / "parts") / CHECKPOINT_NAME).exists()
        assert not run.record_path(tmp_path / "parts").exists()
    record = train_run(run, Settings(results=tmp_path / "parts"))
    assert record.layers == whole.layers
    assert record.summary == whole.summary
    assert_same(tmp_path / "whole", tmp_path / "parts", run)


def test_a_lost_record_is_restored_not_trained_again(tmp_path: Path, tiny_run: MakeRun) -> None:
    """As when a killed workflow deletes the output of a job whose trainer lived on and finished."""
    run = tiny_run(epochs=1)
    first = train_run(run, Settings(results=tmp_path))
    run.record_path(tmp_path).unlink()

    def never() -> bool:
        raise AssertionError("it trains")

    assert train_run(run, Settings(results=tmp_path, stop=never)) == first
    shutil.rmtree(run.directory(tmp_path))
    with pytest.raises(AssertionError, match="it trains"):
        train_run(run, Settings(results=tmp_path, stop=never))


def test_what_a_killed_writer_left_is_removed(tmp_path: Path, tiny_run: MakeRun) -> None:
    run = tiny_run(epochs=1)
    run.directory(tmp_path).mkdir(parents=True)
    leftover = run.directory(tmp_path) / ".checkpoint.pt.abc.part"
    leftover.write_bytes(b"half")
    train_run(run, Settings(results=tmp_path))
    assert not leftover.exists()


def test_bf16_resumes_bit_for_bit_too(tmp_path: Path, tiny_run: MakeRun) -> None:
    run = tiny_run(epochs=2, batch_size=64, precision="bf16")
    assert run.spec_hash != tiny_run(epochs=2, batch_size=64).spec_hash
    train_run(run, Settings(results=tmp_path / "whole"))
    with pytest.raises(Interrupted):
        train_run(run, Settings(results=tmp_path / "parts", stop=stop_after(5)))
    train_run(run, Settings(results=tmp_path / "parts"))
    assert_same(tmp_path / "whole", tmp_path / "parts", run)


def test_finished_run_is_only_read(tmp_path: Path, tiny_run: MakeRun) -> None:
    run = tiny_run(epochs=1)
    first = train_run(run, Settings(results=tmp_path))
    stamp = run.record_path(tmp_path).stat().st_mtime_ns
    assert train_run(run, Settings(results=tmp_path)) == first
    assert run.record_path(tmp_path).stat().st_mtime_ns == stamp


def test_record_says_what_was_measured(tmp_path: Path, tiny_run: MakeRun) -> None:
    run = tiny_run(epochs=2)
    train_run(run, Settings(results=tmp_path, group="main"))
    record = read_record(run.record_path(tmp_path))
    rows = read_csv_rows(run.directory(tmp_path) / "epochs.csv")
    layers = read_csv_rows(run.directory(tmp_path) / "layers.csv")
    assert record.summary["final_test_accuracy"] == float(rows[-1]["test_accuracy"])
    assert record.summary["best_test_accuracy"] == max(float(row["test_accuracy"]) for row in rows)
    assert record.data["name"] == "digits10"
    assert record.data["train_images"] == 256
    assert record.compute["step_flops_per_image"] > 2 * record.compute["forward_flops_per_image"] > 0
    assert len(layers) == 2 * 8 == 2 * len(record.layers)
    assert all(1 <= int(row["levels"]) <= 15 for row in layers)
    assert all(float(row["shrink_max_steps"]) >= float(row["shrink_mean_steps"]) > 0 for row in layers)
    for layer in record.layers:
        assert sum(layer["histogram"]["counts"]) == layer["weights"]
    assert all(0 < float(row["clipped_share"]) <= 1 for row in rows)


def test_switches_are_really_off(tmp_path: Path, tiny_run: MakeRun) -> None:
    """Each ablation's switch leaves its trace in the figures."""
    off = tiny_run("ablation_standard_adamw", epochs=1)
    train_run(off, Settings(results=tmp_path))
    rows = read_csv_rows(off.directory(tmp_path) / "epochs.csv")
    layers = read_csv_rows(off.directory(tmp_path) / "layers.csv")
    assert float(rows[0]["clipped_share"]) == 0
    assert all(float(row["shrink_max_steps"]) == 0 for row in layers)
    fp32 = tiny_run("fp32_cifar10", epochs=1)
    record = train_run(fp32, Settings(results=tmp_path))
    assert record.summary["quantized_weights"] == 0
    assert all(layer["levels"] is None and not layer["quantized"] for layer in record.layers)


def test_hard_clip_at_3_equals_no_clip_bit_for_bit(tmp_path: Path, tiny_run: MakeRun) -> None:
    """A finding, not a bug: no weight comes near 3."""
    hard, none = tiny_run("ablation_hard_clip", epochs=2), tiny_run("ablation_no_weight_clip", epochs=2)
    train_run(hard, Settings(results=tmp_path))
    train_run(none, Settings(results=tmp_path))
    one, two = weights(tmp_path, hard), weights(tmp_path, none)
    assert max(tensor.abs().max() for key, tensor in one.items() if "weight" in key and "conv" in key) < 3
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_validation_split_is_recorded(tmp_path: Path, tiny_run: MakeRun) -> None:
    run = tiny_run("validated_main_cifar10", epochs=2)
    record = train_run(run, Settings(results=tmp_path))
    rows = read_csv_rows(run.directory(tmp_path) / "epochs.csv")
    assert record.data["validation_images"] == pytest.approx(26, abs=10)
    chosen = record.summary["validated_epoch"]
    assert float(rows[chosen - 1]["validation_accuracy"]) == max(float(row["validation_accuracy"]) for row in rows)
    assert record.summary["validated_test_accuracy"] == float(rows[chosen - 1]["test_accuracy"])


def test_a_run_that_loses_its_numbers_is_a_result(tmp_path: Path, tiny_run: MakeRun) -> None:
    run = tiny_run("fp32_plain_cifar10", epochs=5)
    run.spec["optimizer"]["learning_rate"] = 1e30
    record = train_run(run, Settings(results=tmp_path))
    assert record.status == "diverged"
    assert "nan" in record.reason
    assert record.summary["epochs_run"] < 5

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(run.record_path(tmp_path).read_text(), parse_constant=refuse)
    assert content["summary"]["final_train_loss"] is None


@pytest.mark.parametrize(
    ("accuracy", "loss", "status"),
    [(0.15, 2.30, "diverged"), (0.151, 2.30, "completed"), (0.10, 2.25, "completed"), (0.9, math.nan, "diverged")],
)
def test_at_chance_needs_both(accuracy: float, loss: float, status: str) -> None:
    row = {"epoch": 1, "test_accuracy": accuracy, "train_loss": loss, "test_loss": 2.3}
    assert judge([row], classes=10)[0] == status


def test_numbers_lost_in_the_last_step_count_too() -> None:
    row = {"epoch": 1, "test_accuracy": 0.9, "train_loss": 0.1, "test_loss": math.nan}
    assert judge([row], classes=10) == ("diverged", "test_loss is nan in epoch 1")


def test_earliest_of_equal_bests() -> None:
    row = {"train_loss": 1.0, "train_accuracy": 0.5, "test_loss": 1.0, "validation_accuracy": None}
    rows = [{**row, "epoch": n, "test_accuracy": a} for n, a in ((1, 0.5), (2, 0.7), (3, 0.7), (4, 0.6))]
    assert summarize(rows)["best_test_epoch"] == 2
    assert summarize(rows)["final_test_accuracy"] == 0.6


def test_one_writer_at_a_time(tmp_path: Path, tiny_run: MakeRun) -> None:
    run = tiny_run(epochs=1)

    def second_writer() -> bool:
        with pytest.raises(RunBusyError, match=r"process \d+ trains this run"):
            train_run(run, Settings(results=tmp_path))
        return False

    train_run(run, Settings(results=tmp_path, stop=second_writer))


def test_resume_with_other_threads_is_refused(tmp_path: Path, tiny_run: MakeRun) -> None:
    run = tiny_run(epochs=2)
    with pytest.raises(Interrupted):
        train_run(run, Settings(results=tmp_path, stop=stop_after(1), threads=1))
    with pytest.raises(ResumeError, match="threads 1; this run has threads 2"):
        train_run(run, Settings(results=tmp_path, threads=2))


def test_damaged_checkpoint_is_named(tmp_path: Path, tiny_run: MakeRun) -> None:
    run = tiny_run(epochs=2)
    path = run.directory(tmp_path) / CHECKPOINT_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a checkpoint")
    with pytest.raises(ResumeError, match=r"checkpoint\.pt: damaged"):
        train_run(run, Settings(results=tmp_path))


def test_full_disk_at_the_checkpoint_keeps_the_last_one(tmp_path: Path, tiny_run: MakeRun) -> None:
    """A real refusal of the operating system: files may not grow over a limit."""
    run = tiny_run(epochs=3)
    with pytest.raises(Interrupted):
        train_run(run, Settings(results=tmp_path, stop=stop_after(3)))
    path = run.directory(tmp_path) / CHECKPOINT_NAME
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*checkpoint\.pt"):
            train_run(run, Settings(results=tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p for p in path.parent.iterdir() if p.name.startswith(f".{CHECKPOINT_NAME}")] == []
    train_run(run, Settings(results=tmp_path))
    train_run(run, Settings(results=tmp_path / "whole"))
    assert_same(tmp_path, tmp_path / "whole", run)


def test_no_gpu_is_said_plainly(tmp_path: Path, tiny_run: MakeRun) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ReproError, match="torch sees none"):
        train_run(tiny_run(), Settings(results=tmp_path, device="cuda"))


def test_tracker_comes_late_and_hears_the_end(tmp_path: Path, tiny_run: MakeRun) -> None:
    heard: list[object] = []

    class Listener:
        def log_epochs(self, epochs: list[object], layers: list[object]) -> None:
            heard.append((len(epochs), len(layers)))

        def close(self, status: str) -> None:
            heard.append(status)

    run = tiny_run("fp32_cifar10", epochs=3)
    asked = iter([None, Listener()])
    train_run(run, Settings(results=tmp_path, track=lambda seconds, started_at: next(asked)))
    assert heard[:2] == [(2, 16), (3, 24)]
    assert heard[2] in ("completed", "diverged")


def test_trainer_needs_torch_numpy_and_yaml_alone() -> None:
    """A GPU machine often has no more: everything else is imported only where it is used."""
    script = (
        "import sys, torch\n"  # torch itself may bring optional packages
        "known = set(sys.modules)\n"
        "import repro.cli, repro.train\n"
        "heavy = {'mlflow', 'torchvision', 'sklearn', 'pandas', 'scipy', 'snakemake', 'rich', 'tabulate', 'jinja2'}\n"
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - known} & heavy))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
