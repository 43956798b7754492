"""One snakemake's locks told from a dead one's: Snakemake's own say nothing of who made them.

Every workflow of this suite notes itself in a file, and holds the kernel's lock on it for as long as it lives. So the
next one knows whether any other works in the folder. Where none does, the locks that a killed one left are removed,
and with them what its processes left, and records that it took away are put back. Where it cannot be known (a folder
that another machine uses too), all stays as it is.
"""

import atexit
import contextlib
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import IO, Any

from repro.cluster import Demands as Demands  # this and three more for the Snakefile, which has few lines
from repro.config import Plan, Run
from repro.errors import ReproError
from repro.forking import workflow_command as workflow_command
from repro.leftovers import find_leftovers
from repro.records import find_records as find_records
from repro.records import restore_record
from repro.records.files import MACHINE
from repro.records.locks import is_locked
from repro.text import did_you_mean, harmless
from snakemake_logger_plugin_repro import was_stopped as was_stopped

FOLDER = Path(".snakemake")
LOCKS = FOLDER / "locks"

STEPS = ("all", "report", "track")  # targets besides groups and experiments

_held: list[IO[str]] = []
_plans: list[Plan] = []


def begin_workflow(plan: Plan, workflow: Any, results: Path = Path("results")) -> Plan:
    """Called where a workflow begins, before Snakemake looks for locks.

    Args:
        plan: Its scale.
        workflow: Snakemake's own.
        results: Folder of the records.

    Returns:
        The plan.

    Raises:
        ReproError: If it is given no core, with which Snakemake would wait for ever.
    """
    cores = workflow.resource_settings.cores
    if cores is not None and cores < 1:
        raise ReproError(f"--cores {cores}: it takes at least 1; all of this machine's: --cores all")
    _plans.append(plan)
    if workflow.is_main_process:  # and not one job of it on another machine
        _begin_alone(plan, results)
    return plan


def explain_target(name: str) -> str:
    """What to say of a name that the workflow cannot make."""
    if not _plans:
        return f"no target {name}"
    plan = _plans[-1]
    called = [one for one in plan.config.experiments.values() if name in (one.name, one.group)]
    scales = [scale for scale in plan.config.scales if any(one.takes_part(scale) for one in called)]
    if scales:
        return f"{name} takes no part at scale {plan.scale.name}, only at: {', '.join(scales)} (--config scale=NAME)"
    hint = did_you_mean(name, [*plan.targets, *STEPS])
    return (
        f"no target {name!r}{hint} (there are: {', '.join([*STEPS, *plan.groups])}, and each of: python -m repro list)"
    )


def _begin_alone(plan: Plan, results: Path) -> None:
    try:
        import fcntl  # not on Windows
    except ImportError:
        return
    try:
        FOLDER.mkdir(exist_ok=True)
        folder = os.open(FOLDER, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            _begin(plan, results)
        finally:
            os.close(folder)
    except OSError as error:  # a folder that cannot be written, or that has no such locks: Snakemake's own remain
        _say(f"whether another snakemake works here cannot be told ({error.strerror})")


def _begin(plan: Plan, results: Path) -> None:
    dead: list[tuple[Path, str]] = []
    alive: list[tuple[Path, str]] = []
    unknown: list[tuple[Path, str]] = []
    for path in sorted(FOLDER.glob("repro-*.live")):
        machine, _, process = path.stem.removeprefix("repro-").partition("-")
        state = alive if _is_locked(path) else dead if machine == MACHINE else unknown
        state.append((path, f"process {process}: {path.read_text()[:200].strip()}"))
    if alive:
        _say(f"another snakemake works in this folder ({'; '.join(who for _, who in alive)})")
    elif unknown and LOCKS.exists() and any(LOCKS.iterdir()):
        _say("a snakemake of another machine worked in this folder; if it no longer does: snakemake --unlock")
    elif not unknown:
        if dead:
            shutil.rmtree(LOCKS, ignore_errors=True)
            for path in FOLDER.glob("repro-*.socket"):
                path.unlink(missing_ok=True)
        for leftover in find_leftovers([plan], results):
            leftover.remove()
        restore_records(plan, results)
    for path, _ in dead:  # last: they say that there may be locks
        path.unlink(missing_ok=True)
    _hold()


def restore_records(plan: Plan, results: Path = Path("results")) -> None:
    """Put back the records of runs that had finished.

    Snakemake deletes the output of a job that was killed, and of all jobs of an allocation in which one failed.
    """
    for run in plan:
        _restore(run, results)


def _restore(run: Run, results: Path) -> None:
    directory = run.directory(results)
    if run.record_path(results).exists() or not directory.exists() or is_locked(directory):
        return
    try:
        if restore_record(directory):
            _say(f"{run.record_path(results)}: restored, the run had finished")
    except ReproError as error:  # the trainer says it too, where the run is asked for
        _say(str(error))


def _hold() -> None:
    """Note this process for as long as it lives."""
    import fcntl

    path = (FOLDER / f"repro-{MACHINE}-{os.getpid()}.live").resolve()
    file = path.open("w")
    file.write(shlex.join(["snakemake", *sys.argv[1:]]) + "\n")
    file.flush()
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _held.append(file)
    process = os.getpid()

    def end() -> None:
        if os.getpid() == process:
            path.unlink(missing_ok=True)
            path.with_name(f"repro-{process}.socket").unlink(missing_ok=True)  # of the server, if that was killed

    atexit.register(end)


def _is_locked(path: Path) -> bool:
    import fcntl

    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(harmless(line), file=sys.stderr, flush=True)
