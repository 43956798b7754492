"""What the workflow says on a terminal: a line a run, a summary, and no walls where it is stopped or a run fails."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from logging import ERROR, INFO, Formatter, LogRecord, makeLogRecord
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

import snakemake_logger_plugin_repro as plugin
from repro.config import Plan, load_config
from repro.records import read_record
from repro.records.record import COPY_NAME

from .conftest import copy_project, snakemake

RUN = {"event": LogEvent.JOB_INFO, "jobid": 1, "rule_name": "train", "output": ["record.json"], "log": ["log"],
       "wildcards": {"scale": "smoke", "experiment": "main_cifar10", "seed": "0"}}  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def record(level: int = INFO, message: str = "", **fields: object) -> LogRecord:
    return makeLogRecord({"levelno": level, "msg": message, **fields})


def handler(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> plugin.LogHandler:
    monkeypatch.setattr(sys, "stderr", stream)
    made = plugin.LogHandler(SimpleNamespace(stdout=False, dryrun=False, verbose=False, printshellcmds=False), None)
    made.setFormatter(Formatter())
    made.emit(record(event=LogEvent.RUN_INFO, stats={"train": 2, "all": 1}))
    return made


def test_a_line_a_run_and_a_summary(smoke_project: Path) -> None:
    lines = (smoke_project / "terminal.txt").read_text().splitlines()
    assert len(lines) <= 120
    plan = Plan(load_config(smoke_project / "config.yaml"), "smoke")
    runs = plan.default_runs
    assert any(line.startswith(f"{len(runs)} runs to train, then the report, then MLflow") for line in lines)
    for run in runs:
        (line,) = [line for line in lines if f"] {run.experiment} seed {run.seed} " in line]
        summary = read_record(run.record_path(smoke_project / "results")).summary
        assert f" {summary['final_test_accuracy']:.2%} " in line
        assert re.search(r" \d+ (s|min)\b", line), "its time"
    numbers = [int(number) for line in lines for number in re.findall(rf"^\[ *(\d+)/{len(runs)}\]", line)]
    assert numbers == list(range(1, len(runs) + 1))
    assert sum("left" in line for line in lines) == len(runs) - 1
    text = "\n".join(lines)
    for said in ("4-bit, digits10 (1 seed)", "claims of the paper: ", "not measured yet", "MLflow: ", "open report",
                 "next, the paper's own data"):  # fmt: skip
        assert text.count(said) == 1
    main = read_record(plan.run("main_cifar10", 0).record_path(smoke_project / "results")).summary
    (row,) = [line for line in lines if "4-bit, digits10 (" in line]
    assert f"{100 * main['best_test_accuracy']:.2f} %" in row
    assert f"{100 * main['final_test_accuracy']:.2f} %" in row
    logs = (smoke_project / ".snakemake" / "log").iterdir()  # of every call in this folder
    assert any("rule train:" in log.read_text() for log in logs), "Snakemake's own log"


def test_the_summary_is_of_the_scale_that_ran_where_others_have_records(cached: Path, project: Path) -> None:
    """A clone holds records on CIFAR, beside which the page has a table of its own for the digits."""
    shutil.copytree(project / "results" / "short" / "main_cifar10", cached / "results" / "short" / "main_cifar10")
    shutil.rmtree(cached / "results" / "smoke" / "mobile_cifar10")
    result = snakemake(cached)
    assert result.returncode == 0, result.stdout[-4000:]
    main = read_record(next(cached.glob("results/smoke/main_cifar10/*/record.json"))).summary
    (row,) = [line for line in result.stdout.splitlines() if "4-bit, digits10 (1 seed)" in line]
    assert f"{100 * main['best_test_accuracy']:.2f} %" in row
    assert "test accuracy at scale smoke" in result.stdout
    assert "next, the paper's own data" in result.stdout
    assert "short" not in row


def test_ctrl_c_stops_without_walls_and_the_same_command_goes_on(project: Path, tmp_path: Path) -> None:
    folder = copy_project(project, tmp_path / "clone")
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("epochs_factor: 0.02", "epochs_factor: 1.0"))
    command = [str(Path(sys.executable).parent / "snakemake"), "--cores", "2", "main", "--config", "scale=smoke"]
    environment = {**os.environ, "REPRO_DATA_DIR": str(folder / "no-data")}
    workflow = subprocess.Popen(
        command, cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while len(list(folder.glob("results/smoke/*/*/epochs.csv"))) < 2:
        assert workflow.poll() is None
        time.sleep(0.05)
    os.killpg(workflow.pid, signal.SIGINT)
    output, _ = workflow.communicate(timeout=60)
    assert workflow.returncode != 0
    assert re.search(r"^stopped after .*: 0 of 2 runs trained. The same command goes on from there.$", output, re.M)
    for wall in ("RuleException", "Traceback", "FAILED", "Error"):
        assert wall not in output
    assert len(output.splitlines()) < 10
    assert not (folder / "report").exists()
    assert (
        "interrupted"
        in subprocess.run(
            [sys.executable, "-m", "repro", "status", "--scale", "smoke"], cwd=folder, capture_output=True, text=True
        ).stdout
    )


def test_a_dry_run_has_a_line_a_job(project: Path, tmp_path: Path) -> None:
    folder = copy_project(project, tmp_path / "clone")
    result = snakemake(folder, "-n", "main", "report")
    assert result.returncode == 0, result.stdout
    would = re.findall(r"^would (.*)$", result.stdout, re.MULTILINE)
    runs = Plan(load_config(project / "config.yaml"), "smoke").default_runs
    assert {f"train {run.experiment} seed {run.seed}" for run in runs} <= set(would)
    assert "build the report" in would
    assert result.stdout.count("Job stats:") == 1
    assert len(result.stdout.splitlines()) < len(runs) + 20
    assert "jobid:" in snakemake(folder, "-n", "-p", "main").stdout, "Snakemake's own words"


def test_a_reader_that_has_seen_enough_makes_no_wall(project: Path, tmp_path: Path) -> None:
    folder = copy_project(project, tmp_path / "clone")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    typed = ["bash", "-c", "snakemake -n --config scale=smoke | head -2"]
    done = subprocess.run(typed, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 2
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_long_run_says_so_once_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "LONG_SECONDS", 0.0)
    stream = io.StringIO()
    made = handler(stream, monkeypatch)
    made.emit(record(**RUN))
    made._jobs[1].note.join()
    assert "main_cifar10 seed 0 goes on; how far it is: python -m repro status --scale smoke" in stream.getvalue()
    made.close()


def test_a_terminal_has_a_bar_that_names_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    made = handler(stream, monkeypatch)
    made.emit(record(**RUN))
    made._bar.refresh()
    made.close()
    assert "0/2" in stream.getvalue()
    assert "main_cifar10 seed 0" in stream.getvalue()
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h"), "the cursor is shown again"


def test_a_failed_run_is_named_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "run.log"
    log.write_text("epoch 1\nerror: no room\n  make some\n")
    stream = io.StringIO()
    made = handler(stream, monkeypatch)
    made.emit(record(**{**RUN, "log": [str(log)]}))
    made.emit(record(ERROR, "RuleException:\nwall", event=LogEvent.ERROR, exception="RuleException"))
    made.emit(record(ERROR, "Error in rule train", event=LogEvent.JOB_ERROR, jobid=1))
    made.emit(record(ERROR, "Something else is wrong"))
    made.close()
    text = stream.getvalue()
    assert f"FAILED main_cifar10 seed 0: error: no room make some\n       its log: {log}" in text
    assert "wall" not in text
    assert "Something else is wrong" in text
    assert "1 failed (main_cifar10 seed 0), 0 of 2 runs trained" in text
    assert "The same command tries again." in text


def test_of_a_group_those_that_failed_are_named_and_one_that_succeeds_at_last_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster jobs share an allocation, whose failure Snakemake reports of each, and which is tried once more."""
    (tmp_path / "finished").mkdir()
    (tmp_path / "finished" / COPY_NAME).touch()  # what stays when Snakemake deletes the record
    stream = io.StringIO()
    made = handler(stream, monkeypatch)
    names = ("main_cifar10", "main_cifar100", "fp32_cifar10")
    for number, name in enumerate(names, 1):
        output = tmp_path / ("finished" if name == names[0] else name) / "record.json"
        wildcards = {**RUN["wildcards"], "experiment": name}
        made.emit(record(**{**RUN, "jobid": number, "output": [str(output)], "wildcards": wildcards}))
    made.emit(record(ERROR, "Error in group 7: a wall", event=LogEvent.GROUP_ERROR, groupid=7))
    for number in (1, 2, 3):
        made.emit(record(ERROR, "Error in rule train", event=LogEvent.JOB_ERROR, jobid=number))
    made.emit(record(**{**RUN, "jobid": 3, "wildcards": {**RUN["wildcards"], "experiment": names[2]}}))
    made.emit(record(event=LogEvent.JOB_FINISHED, job_id=3))
    made.close()
    text = stream.getvalue()
    assert re.findall("^FAILED (\\w+)", text, re.MULTILINE) == list(names[1:])
    assert "a wall" not in text
    assert "1 failed (main_cifar100 seed 0)" in text
