"""What a run that failed said last, from its log in the workflow."""

import re
from pathlib import Path

from repro.config import Run
from repro.text import printable

LOGS = "logs"  # of the workflow, beside the results
LAST_BYTES, LINES = 8192, 3
FAILURE = re.compile(r"error: |Traceback |[\w.]*(Error|Exception)\b|.*\bKilled\b")
# Of a run that goes on, or was stopped and can: a failure before it is of no interest any more.
WELL = re.compile(r".* seed\d+: (epoch )?\d|.*: stopped by SIG|.*: (completed|diverged), test accuracy")


def last_words(run: Run, results: Path) -> str:
    """The last lines of a run's log, in one; empty where there is none, or they are of no failure."""
    name = f"seed{run.seed}-{run.spec_hash}.log"
    path = results.parent / LOGS / run.scale / run.experiment / name
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LAST_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    said, well = (max((n for n, line in enumerate(lines) if p.match(line)), default=-1) for p in (FAILURE, WELL))
    if said <= well:
        return ""
    words = lines[said:][:LINES] if lines[said].startswith("error: ") else lines[-LINES:]
    return printable(" | ".join(words))
