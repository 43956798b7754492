"""What the workflow says on a terminal: a line a run with its accuracy, how long it still takes, a summary at the end.

A logger plugin of Snakemake's interface, which asks for a package of this name; ``logger: [repro]`` in
``profiles/default`` chooses it. Snakemake's own log is in ``.snakemake/log/``; ``--verbose`` brings it to the terminal.
"""

import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from logging import WARNING, LogRecord
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from repro.records.record import COPY_NAME
from repro.text import duration
from snakemake_logger_plugin_repro.files import (
    PAGE,
    accuracies,
    described,
    last_words,
    mlflow_pages,
    plain_error,
    verdicts,
)

WIDTH = 110
LONG_SECONDS = 60.0  # a run that takes longer has a line when it starts, so to say
RUN, WEIGHTS = "train", "weights"  # rules that make one run each
INTERRUPTED, TERMINATED = "Terminating processes on user request", "Will exit after finishing currently running jobs"
# Snakemake's own words, which ours replace
UNSAID = ("Assuming unrestricted", "Building DAG", "Using shell", "Conda environments", "Group jobs", "Reasons:",
          "\nReasons:")  # fmt: skip
UNSAID_ERRORS = ("Exiting because a job execution failed", "Warning: the following output files of rule weights")
SAID = ("RuleException", "WorkflowError")  # a failed run has its line already


def was_stopped(logs: Iterable[str]) -> bool:
    """Whether a workflow was asked to stop, by its log files; otherwise something failed."""
    texts = [Path(log).read_text(encoding="utf-8", errors="replace") for log in logs]
    return any(words in text for words in (INTERRUPTED, TERMINATED) for text in texts)


@dataclass
class Job:
    """A job that runs."""

    name: str
    rule: str
    output: str
    log: str
    note: threading.Timer
    start: float = field(default_factory=time.monotonic)


class LogHandler(LogHandlerBase):
    """Hears Snakemake's events and tells the user what they mean."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Nothing has happened yet."""
        self._stream = sys.stdout if self.common_settings.stdout else sys.stderr
        settings = self.common_settings
        self._as_snakemake = settings.verbose or (settings.dryrun and settings.printshellcmds)
        self._told_stats = False
        self._start = time.monotonic()
        self._executing, self._stopped, self._closed = False, False, False
        self._runs = self._done = self._cores = 0
        self._jobs: dict[int, Job] = {}
        self._failed: list[str] = []
        self._finished: set[str] = set()
        self._scale = ""
        self._bar: Any = None

    def emit(self, record: LogRecord) -> None:
        """One event."""
        event = getattr(record, "event", None)
        plain = plain_error(getattr(record, "exception", ""), record.getMessage())
        if plain:
            self._say(f"error: {plain}")
        elif self._as_snakemake:
            self._say(self.format(record))
        elif self.common_settings.dryrun:
            self._would(record, event)
        elif (event is not None and record.levelno < WARNING) or event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            handler = getattr(self, f"_{event}", None)
            if handler is not None:
                handler(record)
        elif not self._is_told_otherwise(record):
            self._say(self.format(record))

    def _would(self, record: LogRecord, event: object) -> None:
        """One event of a dry run: Snakemake's table of jobs, and a line for each that makes something."""
        if event == LogEvent.JOB_INFO:
            about = record.__dict__
            if about["output"]:
                self._say(f"would {_described(about['rule_name'], about['wildcards'] or {})}")
        elif event == LogEvent.RUN_INFO:
            if not self._told_stats:
                self._say(self.format(record))
            self._told_stats = True
        elif event != LogEvent.WORKFLOW_STARTED and not record.getMessage().startswith(UNSAID):
            self._say(self.format(record))

    def close(self) -> None:
        """The workflow ends, however it does."""
        if not self._closed:
            self._closed = True
            for job in self._jobs.values():
                job.note.cancel()
            if self._bar is not None:
                self._bar.stop()
            if self._executing:
                self._say("\n".join(self._summary()))
        super().close()

    def _is_told_otherwise(self, record: LogRecord) -> bool:
        """Messages without an event, and errors: what of them a user need not read."""
        text = record.getMessage()
        if text.startswith((INTERRUPTED, TERMINATED)):
            if not self._stopped:
                self._stopped = True
                self._say("stopping: " + ("the running trainings end at their next step" if text.startswith(INTERRUPTED)
                                          else "the running trainings finish first"))  # fmt: skip
            return True
        if record.levelno < WARNING:
            return self._executing or text.startswith(UNSAID)
        exception = getattr(record, "exception", "")
        return self._executing and (exception in SAID or text.startswith(UNSAID_ERRORS))

    def _resources_info(self, record: LogRecord) -> None:
        self._cores = getattr(record, "cores", self._cores)

    def _run_info(self, record: LogRecord) -> None:
        """The table of jobs is known, and the work begins."""
        stats: dict[str, int] = getattr(record, "stats", {})
        self._executing, self._start, self._runs = True, time.monotonic(), stats.get(RUN, 0)
        steps = [f"{self._runs or 'no'} run{'' if self._runs == 1 else 's'} to train"]
        steps += [words for rule, words in (("report", "the report"), ("track", "MLflow")) if rule in stats]
        self._say(f"{', then '.join(steps)}. Ctrl-C stops, the same command goes on.")
        if self._runs and self._stream.isatty():
            self._bar = _bar(self._stream, self._runs)

    def _job_info(self, record: LogRecord) -> None:
        """A job starts."""
        about = record.__dict__
        rule, wildcards = about["rule_name"], about["wildcards"] or {}
        name = rule
        if rule in (RUN, WEIGHTS):
            self._scale, name = wildcards["scale"], f"{wildcards['experiment']} seed {wildcards['seed']}"
        note = threading.Timer(LONG_SECONDS, self._note, [name, rule])
        note.daemon = True
        output, log = ((about[key] or [""])[0] for key in ("output", "log"))
        job = Job(name, rule, output, log, note)
        self._jobs[about["jobid"]] = job
        note.start()
        self._show_running()

    def _note(self, name: str, rule: str) -> None:
        if rule in (RUN, WEIGHTS) and self._bar is None:
            self._say(f"{name} goes on; how far it is: python -m repro status --scale {self._scale}")

    def _job_finished(self, record: LogRecord) -> None:
        """A job has ended well."""
        job = self._jobs.pop(record.__dict__["job_id"], None)
        if job is None:
            return
        job.note.cancel()
        if job.name in self._failed:  # it was tried once more
            self._failed.remove(job.name)
        self._finished.add(job.rule)
        took = duration(time.monotonic() - job.start)
        if job.rule == RUN:
            self._done += 1
            left = (time.monotonic() - self._start) / self._done * (self._runs - self._done)
            eta = f"   about {duration(left)} left" if self._done < self._runs else ""
            place = f"[{self._done:{len(str(self._runs))}d}/{self._runs}]"
            self._say(f"{place} {job.name:<38} {described(Path(job.output)):>16}   {took:>6}{eta}")
        elif job.rule in (WEIGHTS, "report"):
            what = "report built" if job.rule == "report" else f"{job.name}: its weights are there"
            self._say(f"{what} ({took})")
        elif job.rule == "track":
            for line in mlflow_pages(Path(job.log), self._scale):
                self._say(line)
        self._show_running()

    def _job_error(self, record: LogRecord) -> None:
        """A job has ended badly, or was stopped; or it shared an allocation with one that has."""
        job = self._jobs.pop(record.__dict__["jobid"], None)
        if job is None:
            return
        job.note.cancel()
        self._show_running()
        if job.rule == RUN and Path(job.output).with_name(COPY_NAME).exists():
            return
        reason = last_words(Path(job.log), "error:")
        if not self._stopped and "stopped by SIG" not in reason and job.name not in self._failed:
            self._failed.append(job.name)
            self._say(f"FAILED {job.name}: {reason}\n       its log: {job.log}")

    def _show_running(self) -> None:
        if self._bar is not None:
            names = ", ".join(job.name for job in self._jobs.values()) or "waiting"
            self._bar.update(self._bar.tasks[0].id, completed=self._done, description=names)

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            with suppress(BrokenPipeError):  # the reader, such as `head`, has seen enough
                print(text, file=self._stream, flush=True)

    def _summary(self) -> Iterator[str]:
        """The last lines."""
        took, runs = duration(time.monotonic() - self._start), f"{self._done} of {self._runs} runs trained"
        cores = self._cores or "all"  # a cluster's are not counted
        if self._stopped:
            yield f"stopped after {took}: {runs}. The same command goes on from there."
            return
        reported = "report" in self._finished or (bool(self._failed) and PAGE.exists())
        main = list(accuracies(self._scale)) if reported else []
        if reported:
            yield from ("", *main, *textwrap.wrap(verdicts(), WIDTH), "")
        if self._failed:
            names = ", ".join(self._failed)
            yield f"{len(self._failed)} failed ({names}), {runs}, in {took}. The same command tries again."
        else:
            yield f"done in {took}{f': {runs}' if self._runs else ''}"
        yield f"open {PAGE}" if reported else f"for the report of all records: snakemake --cores {cores} report"
        if not self._failed and any("digits" in line for line in main):
            yield from ("next, the paper's own data, in runs of hours:", "  python -m repro data cifar10 --download")
            yield "  python -m repro plan --scale short"
            yield f"  snakemake --cores {cores} main --config scale=short"


def _described(rule: str, wildcards: Mapping[str, str]) -> str:
    """What a job does, for a dry run."""
    if rule not in (RUN, WEIGHTS):
        return {"report": "build the report", "track": "bring the records into MLflow"}.get(rule, f"make {rule}")
    what = f"{wildcards['experiment']} seed {wildcards['seed']}"
    return f"train {what}" if rule == RUN else f"train {what} again, for its weights, if they are gone"


def _bar(stream: Any, runs: int) -> Any:
    """A bar below the lines: runs done, and which are being made."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    bar = Progress(*columns, console=Console(file=stream), transient=True)
    bar.add_task("", total=runs)
    bar.start()
    return bar
