"""What the workflow's jobs ask for: slots and an order on one machine; of a cluster, time, memory and company, too."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.commands.plan import probe
from repro.config import Plan, Run
from repro.costs import Rates, slots
from repro.records import RecordError, find_records, read_record
from repro.records.environment import has_gpu

MARGIN = 2.0  # of time and memory over the estimate; what is cut off all the same is tried again with twice as much
SHORTEST_MINUTES = 10  # a node may be slow to start, and its file system to answer
SHORT, SHORT_SECONDS = "short", 900.0  # shorter runs share an allocation: a queue costs minutes a job
NOTHING = 0  # asked for: Snakemake knows no other way to say so
UNKNOWN_BYTES = 2 * 10**9  # where no record says what a run took


class Demands:
    """Threads, priorities, resources and groups of the jobs that train, by the estimates of ``python -m repro plan``.

    Its methods are called by Snakemake, with a job's wildcards.
    """

    def __init__(self, plan: Plan, workflow: Any, results: Path = Path("results")) -> None:
        """Nothing is estimated before a job asks, and nothing at all on one machine.

        Args:
            plan: The scale.
            workflow: Snakemake's.
            results: Folder of the records.
        """
        self._plan, self._workflow, self._results = plan, workflow, results
        workflow.localrules("report", "track")  # no jobs of a cluster: seconds, where MLflow's database is
        self._places = {run.key: place for place, run in enumerate(reversed(list(plan)), 1)}

    @property
    def resources(self) -> Mapping[str, int | Callable[..., int]]:
        """By Snakemake's names; where there is no GPU none is named, for Kubernetes refuses 0 of them."""
        gpu = {"gpu": 1} if has_gpu() else {}
        return {**gpu, "mem_mb": self.megabytes, "runtime": self.minutes}

    def priority(self, job: Any) -> int:
        """Runs in the order of config.yaml; those of other seeds last."""
        return self._places.get(self._run(job).key, 0)

    def threads(self, job: Any) -> int:
        """Slots of --cores; on a cluster, a run's own threads."""
        return slots(self._plan.scale.torch_threads, self._workflow.cores if self._workflow.local_exec else None)

    def minutes(self, job: Any, attempt: int, rulename: str) -> int:
        """Wall time, in minutes; the least there is for a job that only looks whether a run's weights are there."""
        if not self._submits:
            return NOTHING
        run = self._run(job)
        gone = run.record_path(self._results).exists() and not run.weights_path(self._results).exists()
        trains = rulename != "weights" or gone
        estimate = round(MARGIN * self._seconds(run) / 60) if trains else 0
        return max(SHORTEST_MINUTES, estimate) * (1 << attempt - 1)

    def megabytes(self, job: Any, attempt: int) -> int:
        """Memory, in MB."""
        return round(MARGIN * self._most_bytes / 1e6) * (1 << attempt - 1) if self._submits else NOTHING

    def group(self, job: Any) -> str | None:
        """Jobs of one name share allocations: a run's own, and those of short runs.

        Of these a group holds the runs that take no weights, the next those that take weights of such runs, and so
        on: a group never waits for a run that waits for the same group. On a node all jobs are of one allocation.
        """
        if self._workflow.local_exec:
            return None
        if not self._submits:
            return f"{SHORT}0"
        run = self._run(job)
        if self._seconds(run) > SHORT_SECONDS:
            return f"{run.experiment}_seed{run.seed}"
        depth, source = 0, self._plan.source(run)
        while source is not None:
            depth, source = depth + 1, self._plan.source(source)
        return f"{SHORT}{depth}"

    @property
    def _submits(self) -> bool:
        """Whether this process hands jobs to a cluster; one that works off a job of a cluster does not."""
        return bool(self._workflow.is_main_process and not self._workflow.local_exec)

    def _run(self, job: Any) -> Run:
        return self._plan.run(job.experiment, int(job.seed))

    def _seconds(self, run: Run) -> float:
        """Of the whole run, whatever of it is done already."""
        return self._rates.seconds(run, run.epochs_to_train)[0]

    @cached_property
    def _rates(self) -> Rates:
        return Rates(self._results, probe)

    @cached_property
    def _most_bytes(self) -> int:
        """The most that any run on record took: they differ by data and libraries more than by method."""
        return max((_peak(path) for path in find_records(self._results)), default=0) or UNKNOWN_BYTES


def _peak(record: Path) -> int:
    try:
        peak: int | None = read_record(record).environment.get("peak_memory_bytes")
    except RecordError:
        return 0  # the report lists it
    return peak or 0
