"""The command line as a user meets it: in processes of its own, with real signals."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml

from repro.commands.training import StopRequest
from repro.config import Config, Plan
from repro.records import find_records, read_csv_rows, read_record
from repro.train import Interrupted


def repro(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "repro", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path: Path, project: Path) -> Path:
    shutil.copy(project / "config.yaml", tmp_path)
    return tmp_path


def test_list_names_every_experiment_and_shared_runs(folder: Path, config: object) -> None:
    result = repro("list", "--scale", "paper", cwd=folder)
    assert result.returncode == 0
    for name in config.experiments:
        assert name in result.stdout
    assert "run of main_cifar10" in result.stdout


def test_train_then_status_then_report_then_track(folder: Path, config: Config) -> None:
    result = repro("train", "main_cifar10", "--scale", "smoke", cwd=folder)
    assert result.returncode == 0, result.stderr
    (path,) = find_records(folder / "results")
    assert str(path.relative_to(folder)) in result.stdout
    assert "epoch 3/3" in result.stderr
    assert "\x1b" not in result.stderr, "a log gets plain lines"
    status = repro("status", "--scale", "smoke", cwd=folder)
    assert f"{100 * read_record(path).summary['final_test_accuracy']:.2f} %" in status.stdout
    assert f"{len(list(Plan(config, 'smoke'))) - 1} not started" in status.stdout
    claims = repro("claims", cwd=folder)
    assert claims.returncode == 0, claims.stderr
    assert "not measured yet" in claims.stdout
    assert repro("report", cwd=folder).returncode == 0
    assert (folder / "report" / "index.html").exists()
    tracked = repro("track", cwd=folder)
    assert "1 added" in tracked.stdout
    assert "1 unchanged" in repro("track", cwd=folder).stdout


def test_sigterm_saves_and_the_same_command_goes_on(folder: Path) -> None:
    """A real signal in the middle of a real training, then the same bits as without it."""
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("epochs_factor: 0.02", "epochs_factor: 0.4"))
    command = [sys.executable, "-m", "repro", "train", "fp32_cifar10", "--scale", "smoke"]
    trainer = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("results/smoke/*/*/epochs.csv")):
        assert trainer.poll() is None
        time.sleep(0.02)
    trainer.send_signal(signal.SIGTERM)
    _, errors = trainer.communicate(timeout=60)
    assert trainer.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in errors
    assert not find_records(folder / "results")
    done = len(read_csv_rows(next(folder.glob("results/smoke/*/*/epochs.csv"))))
    assert 0 < done < 60
    assert "interrupted" in repro("status", "--scale", "smoke", cwd=folder).stdout

    resumed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert "resumed after" in resumed.stderr
    whole = subprocess.run([*command, "--results", "whole"], cwd=folder, capture_output=True, text=True, check=True)
    assert "resumed" not in whole.stderr
    one, two = (
        torch.load(next(folder.glob(f"{name}/smoke/*/*/weights.pt")), weights_only=True)
        for name in ("results", "whole")
    )
    assert all(torch.equal(one[key], two[key]) for key in two)


def test_sigterm_ends_a_quantisation_at_once(folder: Path) -> None:
    """It has nothing to keep, and would go on for hours; the one after it does not begin."""
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("iterations: 1000}", "iterations: 100000000}"))
    names = ["fp32_cifar10", "rounding_adaround_cifar10", "ptq8_cifar10"]
    command = [sys.executable, "-m", "repro", "train", *names, "--scale", "smoke"]
    trainer = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert trainer.stderr is not None
    assert any("quantising by adaround" in line for line in trainer.stderr), "it ended before it began"
    trainer.send_signal(signal.SIGTERM)
    _, errors = trainer.communicate(timeout=60)
    assert trainer.returncode == 128 + signal.SIGTERM
    assert errors.splitlines()[-1] == (
        "rounding_adaround_cifar10 seed 0: stopped by SIGTERM; nothing of it is kept, the same command begins it again"
    )
    assert [path.parts[-3] for path in find_records(folder / "results")] == ["fp32_cifar10"]


def test_a_stop_is_swallowed_by_no_library() -> None:
    """It came while a line was logged: `logging` catches every `Exception` there, and the run went on for hours."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    stop = StopRequest()
    stop.listen()
    try:
        with pytest.raises(Interrupted), stop.at_once(), suppress(Exception):
            signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "main_cifar1"], "did you mean 'main_cifar10'?"),
        (["train", "main_cifar10", "--scale", "qick"], "unknown scale 'qick'; did you mean 'quick'?"),
        (["train", "main"], "main is a group, not an experiment: name some of main_cifar10, main_cifar100"),
        (["train", "all", "main_cifar10"], "`all` names every experiment of the default job: give it alone"),
        (["train", "main_cifar10", "--scale", "short"], "cifar10 is not here"),
        (["train", "main_cifar10", "--scale", "paper_bf16", "--seed", "0", "--no-track"], "cifar10 is not here"),
        (["train", "main_cifar10", "--scale", "smoke", "--device", "tpu"], "allowed: auto, cpu, cuda"),
        (["train", "main_cifar10", "--seed", "-3"], "-3 is less than 0"),
        (["train", "main_cifar10", "--seed", "4294967296"], "4294967296 is more than 4294967295"),
        (["export", "main_cifar10", "--seed", "4294967296"], "4294967296 is more than 4294967295"),
        (["train", "main_cifar10", "--seed", "0,1"], "invalid integer value: '0,1'"),
        (["train", "main_cifar10", "--threads", "0"], "0 is less than 1"),
        (["data", "cifar11"], "there is no data set 'cifar11'"),
        (["list", "--config", "absent.yaml"], "cannot be read"),
        (["clean", "--results", "absent"], "absent: there is no such folder"),
        (["status", "--results", "config.yaml"], "config.yaml: there is no such folder"),
        (["check", "absent"], "absent: there is no such folder"),
        (["check", "."], "no record.json in it"),
        (["evaluate", "absent.onnx"], "absent.onnx: there is no such file"),
        (["evaluate", "config.yaml"], "its name ends in neither .safetensors nor .onnx"),
        (["export", "main_cifar10", "--seed", "7"], "`python -m repro train main_cifar10 --scale quick --seed 7`"),
        (["compare", "main_cifar10:9", "fp32_cifar10"], "`python -m repro train main_cifar10 --scale quick --seed 9`"),
        (["compare", "main_cifar10:x", "fp32_cifar10"], "neither an experiment, NAME:SEED, nor the folder of a run"),
        (["plan", "--budget", "3"], "'3' is not a duration; write 90s, 45m, 3h or 2d"),
        (["init", "config.yaml"], "config.yaml: a file, and nothing was written; name a folder"),
        (["refresh"], "README.md: not there; run this in a clone of the repository"),
        (["track", "--uri", "nonsense"], "nonsense: no address of MLflow; write sqlite:///FILE.db, or"),
        (["train", "main_cifar10", "--scale", "smoke", "--results", "config.yaml"], "cannot be written"),
    ],
)
def test_bad_input_is_a_message_not_a_traceback(folder: Path, arguments: list[str], expected: str) -> None:
    result = repro(*arguments, cwd=folder, REPRO_DATA_DIR=str(folder / "empty"))
    assert result.returncode in (1, 2)
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 12


def test_runs_that_share_epochs_train_them_once(folder: Path) -> None:
    names = ("main_cifar10", "ablation_full", "schedule_restarts_cifar10")
    result = repro("train", *names, "--scale", "smoke", "--no-track", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "ablation_full: its epochs up to 2 are those of smoke/" in result.stderr
    assert "ablation_full smoke seed0: epoch" not in result.stderr
    assert "schedule_restarts_cifar10 smoke seed0: epoch 3/3" in result.stderr
    alone = repro("train", *names, "--scale", "smoke", "--seed", "5", "--no-track", cwd=folder)
    assert alone.returncode == 0, alone.stderr
    assert "ablation_full smoke seed5: epoch 2/2" in alone.stderr
    shared = {
        read_record(path).key: read_record(path).environment["shared"] for path in find_records(folder / "results")
    }
    assert sorted(bool(value) for value in shared.values()) == [False] * 4 + [True] * 2
    assert f"{2 * len(names)} diverged, " in repro("status", "--scale", "smoke", cwd=folder).stdout
    assert repro("report", cwd=folder).returncode == 0


@pytest.mark.parametrize("arguments", [["data", "digits10"], ["track"]])
def test_what_needs_no_configuration_reads_none(tmp_path: Path, arguments: list[str]) -> None:
    result = repro(*arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_evaluate_reads_no_configuration(tmp_path: Path) -> None:
    result = repro("evaluate", "absent.safetensors", cwd=tmp_path)
    assert result.returncode == 1
    assert "config.yaml" not in result.stderr


def test_an_experiment_that_keeps_to_its_scales(folder: Path) -> None:
    config = folder / "config.yaml"
    title = "title: Six epochs (table V)\n"
    config.write_text(config.read_text().replace(title, f"{title}    scales: [paper_bf16, paper]\n"))
    assert "mobile_cifar10" in repro("list", "--scale", "paper_bf16", cwd=folder).stdout
    for command in ("list", "status"):
        assert "mobile_cifar10" not in repro(command, "--scale", "smoke", cwd=folder).stdout
    refused = repro("train", "mobile_cifar10", "--scale", "smoke", cwd=folder)
    assert refused.returncode == 1
    assert "mobile_cifar10 takes no part at scale smoke, only at: paper_bf16, paper" in refused.stderr
    config.write_text(config.read_text().replace("[paper_bf16, paper]", "[papr]"))
    assert "unknown scale 'papr'; did you mean 'paper'?" in repro("list", cwd=folder).stderr


def test_unreachable_mlflow_server_stops_nothing_and_the_sync_catches_up(folder: Path) -> None:
    nowhere = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("epochs_factor: 0.02", "epochs_factor: 0.03"))
    script = (
        "import sys\nfrom repro import cli\nfrom repro.commands import training\n"
        "training.LIVE_TRACKING_SECONDS = 0\n"  # so that a run of seconds logs live as one of hours does
        "sys.exit(cli.main(['train', 'main_cifar10', '--scale', 'smoke']))"
    )
    live = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env={**os.environ, **nowhere}, capture_output=True, text=True
    )
    assert live.returncode == 0, live.stderr
    assert len(find_records(folder / "results")) == 1
    assert "python -m repro track" in live.stderr

    by_hand = repro("track", cwd=folder, **nowhere)
    assert by_hand.returncode == 1
    (line,) = by_hand.stderr.splitlines()
    assert line.startswith("error: MLflow at http://127.0.0.1:9 failed: the server does not answer")
    in_the_workflow = repro("track", "--stamp", "stamp.txt", cwd=folder, **nowhere)
    assert in_the_workflow.returncode == 0
    assert "python -m repro track" in in_the_workflow.stderr
    assert "1 added" in repro("track", cwd=folder, MLFLOW_TRACKING_URI="").stdout


def test_a_seed_started_by_hand_is_in_status_and_plan(folder: Path) -> None:
    assert repro("train", "mobile_cifar10", "--scale", "smoke", "--seed", "5", cwd=folder).returncode == 0
    assert re.search(r"mobile_cifar10 +5 +finished +6/6", repro("status", "--scale", "smoke", cwd=folder).stdout)
    status = repro("status", "--scale", "smoke", cwd=folder).stdout
    assert not re.search(r"\b0/0\b", status), "a PTQ run has no epochs"


def test_status_watches_until_all_is_done(folder: Path) -> None:
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    raw["experiments"] = {"mobile_cifar10": raw["experiments"]["mobile_cifar10"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    command = [sys.executable, "-m", "repro", "status", "--scale", "smoke", "--watch", "1"]
    watch = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert repro("train", "mobile_cifar10", "--scale", "smoke", cwd=folder).returncode == 0
    output, _ = watch.communicate(timeout=30)
    assert watch.returncode == 0
    assert "scale smoke: 1 not started" in output
    assert output.rstrip().endswith("scale smoke: 1 finished")


def test_claims_of_a_verdict_as_json(folder: Path) -> None:
    result = repro("claims", "--verdict", "contradicted", "--json", cwd=folder)
    claims = json.loads(result.stdout)
    assert claims
    assert all(claim["verdict"].startswith("contradicted") for claim in claims)
    refused = repro("claims", "--verdict", "maybe", cwd=folder)
    assert refused.returncode == 1
    assert "there is no verdict 'maybe'; there are: " in refused.stderr


def test_compare_two_experiments_by_the_committed_records(project: Path) -> None:
    result = repro("compare", "main_cifar10", "fp32_cifar10:0", "--scale", "short", cwd=project)
    assert result.returncode == 0, result.stderr
    assert re.search(r"quantizer.name +absmax +none", result.stdout)
    one, two = (
        read_record(next(project.glob(f"results/short/{name}/seed0-*/record.json"))).summary["best_test_accuracy"]
        for name in ("main_cifar10", "fp32_cifar10")
    )
    gap = f"{100 * (one - two):+.2f}".replace("-", "−")
    assert re.search(rf"test accuracy, best epoch.* {100 * one:.2f} +{100 * two:.2f} +{gap}", result.stdout)
    assert "common seeds" in result.stdout
    assert "has no record" in repro("compare", "main_cifar10:9", "fp32_cifar10", "--scale", "short", cwd=project).stderr
