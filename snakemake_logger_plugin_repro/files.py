"""What records, logs, errors and the report's tables say, for a line on the terminal."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from repro.errors import ReproError

PAGE = Path("report/index.html")
TABLES = Path("report/tables")
MOST_CHARACTERS = 600  # of a log that are shown


def described(record: Path) -> str:
    """A run's accuracy at its last epoch, and whether it diverged."""
    try:
        about = json.loads(record.read_text(encoding="utf-8"))
        accuracy = f"{about['summary']['final_test_accuracy']:.2%}"
        return f"diverged, {accuracy}" if about["status"] == "diverged" else accuracy
    except (OSError, ValueError, KeyError, TypeError):
        return "no readable record"


def last_words(log: Path, start: str) -> str:
    """A log from its last line on that starts so; without one, its last line. In one line."""
    try:
        return " ".join(" ".join(last_lines(log, start)).split())[:MOST_CHARACTERS] or "its log is empty"
    except OSError:
        return "it has no log"


def last_lines(log: Path, start: str) -> list[str]:
    """The same, line by line.

    Raises:
        OSError: Without a log.
    """
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    first = max((place for place, line in enumerate(lines) if line.startswith(start)), default=len(lines) - 1)
    return lines[max(first, 0) :]


def plain_error(exception: str, text: str) -> str:
    """An error that the user can mend, without Snakemake's words around it; empty for any other.

    Args:
        exception: Name of its class.
        text: What Snakemake says: the class and a line of the Snakefile, the message, lines of our code.
    """
    unknown = re.match(r"No rule to produce (\S+) \(if you use input", text.partition("\n")[2])
    if exception == "MissingRuleException" and unknown:
        from repro.live import explain_target  # the Snakefile has imported it

        return explain_target(unknown[1])
    if exception not in {"ReproError", *(kind.__name__ for kind in ReproError.__subclasses__())}:
        return ""
    return "\n".join(line for line in text.splitlines()[1:] if not re.match(r'  File "', line))


def mlflow_pages(log: Path, scale: str) -> list[str]:
    """What `repro track` said, with the address of one scale's runs; of all where the scale is not known."""
    try:
        lines = last_lines(log, "MLflow:")
    except OSError:
        return []
    lists = "runs of scale "
    return [line for line in lines if not scale or not line.startswith(lists) or line.startswith(f"{lists}{scale}:")]


def accuracies(scale: str) -> Iterator[str]:
    """The main runs of a scale (empty: the first that the report shows), a line each, from the report's tables."""
    rows = [row for row in [*_rows("main.csv"), *_digits()] if row["source"] == "ours" and row["value"]]
    scale = scale or (rows[0]["scale"] if rows else "")
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in rows:
        if row["scale"] == scale:
            key = (row["row"], row["data"], row["n"])
            found.setdefault(key, {})[row["column"]] = f"{float(row['value']):.2f} %"
    columns = list(dict.fromkeys(column for cells in found.values() for column in cells))
    if found:
        names = "".join(f"{column.replace(' (%)', ''):>22}" for column in columns)
        yield f"{f'test accuracy at scale {scale}':<40}{names}"
    for (label, data, seeds), cells in found.items():
        name = f"{label.partition(',')[0]}, {data} ({seeds} seed{'' if seeds == '1' else 's'})"
        yield f"  {name:<38}" + "".join(f"{cells.get(column, ''):>22}" for column in columns)


def _digits() -> Iterator[dict[str, str]]:
    """The main runs in the table of what ran on digits: they have one of their own where there are records on CIFAR."""
    for row in _rows("digits.csv"):
        group, _, title = row["row"].partition(": ")
        if row["unit"] == "%" and (group == "main" or (group == "fp32" and "same training" in title)):
            yield row | {"row": title}


def verdicts() -> str:
    """The claims of the paper by verdict."""
    counts = Counter(row["verdict"] for row in _rows("claims.csv"))
    return f"{counts.total()} claims of the paper: " + ", ".join(f"{n} {name}" for name, n in counts.most_common())


def _rows(name: str) -> list[dict[str, str]]:
    path = TABLES / name
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
