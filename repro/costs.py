"""What a scale would cost on this machine before it is run."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from repro.config import Plan, Run, Spec
from repro.config.registry import DATASETS
from repro.config.trajectories import shared_epochs, snapshots_of
from repro.errors import ReproError
from repro.records import DIVERGED, EPOCHS_NAME, Record, RecordError, find_records, read_csv_rows, read_record
from repro.records.environment import available_cores, has_gpu, processor_name
from repro.status import FAILED, FINISHED, NOT_STARTED, RunStatus, scale_status

START_SECONDS = 6.0  # imports, data, FLOP count and the record; measured 5 to 7 s
PTQ_EPOCHS = 0.25  # a PTQ run in epochs of its FP32 run, roughly: GPTQ takes more, the other methods less

COSTLY_QUANTIZERS = ("int8_qat", "int4_radix4", "wage")  # these do more in a step than round weights

ENDED = (FINISHED, DIVERGED)
NO_WEIGHTS = "finished, weights gone"

Probe = Callable[[Run], Mapping[str, float]]


@dataclass(frozen=True)
class RunCost:
    """One run and what it still costs.

    Attributes:
        run: Which run.
        state: As in ``repro.status``.
        epochs_left: Epochs still to train, without those that it shares with a run before it; again all, where a PTQ
            run needs weights of which only the record is here.
        seconds: Estimate for them, alone on its threads; 0 where the run is cached.
        source: ``cached``, ``records`` (of this machine) or ``probe``.
        by_hand: Of a seed that the scale does not list: somebody started it, and the workflow does not go on with it.
    """

    run: Run
    state: str
    epochs_left: int
    seconds: float
    source: str
    by_hand: bool = False


class Rates:
    """Seconds that runs take: by records that this kind of processor made with the same model, arithmetic and threads.

    Where there is none, or a GPU, by a probe, once a setting.
    """

    def __init__(self, results: Path, probe: Probe) -> None:
        """Read the records; ``probe`` gives seconds an image of training and evaluation, as ``repro.train.probe``."""
        self._recorded = {} if has_gpu() else _recorded_rates(results)
        self._probe, self._probed = probe, dict[str, Mapping[str, float]]()

    def seconds(self, run: Run, epochs: int) -> tuple[float, str]:
        """Estimate for so many epochs of a run, its start included, and whether it is by ``records`` or ``probe``."""
        share = epochs if run.epochs_to_train else PTQ_EPOCHS
        train, test = _image_counts(run.spec)
        key = _setting(run.spec, run.torch_threads)
        if key in self._recorded:
            return START_SECONDS + self._recorded[key] * train * share, "records"
        if key not in self._probed:
            self._probed[key] = self._probe(run)
        rates = self._probed[key]
        return START_SECONDS + (rates["train"] * train + rates["evaluate"] * test) * share, "probe"


def scale_costs(plan: Plan, results: Path, probe: Probe) -> list[RunCost]:
    """Every run that the plan's scale asks for by default, and every other seed on disk, with its state and cost.

    Args:
        plan: The scale.
        results: Folder of the records.
        probe: Gives seconds an image of training and evaluation, as ``repro.train.probe``.
    """
    rates = Rates(results, probe)
    costs = []
    by_default = {run.key for run in plan.default_runs}
    every = {run.key for run in plan}
    entries = [
        entry for entry in scale_status(plan, results) if entry.run.key in by_default or entry.run.key not in every
    ]
    wanted = _weights_to_restore(plan, [entry.run for entry in entries if entry.state not in ENDED], results)
    before: list[RunStatus] = []
    for entry in entries:
        run, left, by_hand = entry.run, entry.run.epochs_to_train - entry.epoch, entry.run.key not in every
        if run.key in wanted and entry.state in ENDED:
            entry, left = replace(entry, state=NO_WEIGHTS), run.epochs_to_train
        if entry.state in ENDED:
            costs.append(RunCost(run, entry.state, 0, 0.0, "cached", by_hand))
            continue
        if entry.state == NOT_STARTED or (entry.state == FAILED and not entry.epoch):
            left -= _shared(run, before, results)
        before.append(entry)
        seconds, source = rates.seconds(run, left)
        costs.append(RunCost(run, entry.state, left, seconds, source, by_hand))
    return costs


def _shared(run: Run, before: list[RunStatus], results: Path) -> int:
    """First epochs of a run that lie in a snapshot, or will when the runs before it have trained."""
    kept = [epochs for epochs, _ in snapshots_of(run, results)][:1]
    others = [(entry, shared_epochs(run.spec, entry.run.spec)) for entry in before if entry.run.seed == run.seed]
    return max([*kept, *(shared for entry, shared in others if entry.epoch < shared)], default=0)


def _weights_to_restore(plan: Plan, to_make: list[Run], results: Path) -> set[str]:
    """Keys of the runs whose weights some run to be made takes, and which are not here."""
    sources = [source for run in to_make if (source := plan.source(run)) is not None]
    return {source.key for source in sources if not source.weights_path(results).exists()}


def slots(threads: int, cores: int | None) -> int:
    """Slots of --cores that a training takes: --cores beyond the machine's would only slow each other."""
    return threads * -(-(cores or 1) // available_cores())


def wall_seconds(costs: list[RunCost], cores: int | None = None) -> float:
    """Estimated wall time of all runs of the workflow, as many at once as have a core for each of their threads."""
    to_train = [entry for entry in costs if entry.seconds and not entry.by_hand]
    if not to_train:
        return 0.0
    threads = max(entry.run.torch_threads for entry in to_train)
    at_once = max(1, min(cores or available_cores(), available_cores()) // threads)
    total = sum(entry.seconds for entry in to_train)
    return max(total / at_once, max(entry.seconds for entry in to_train))


def parse_duration(text: str) -> float:
    """``90s``, ``45m``, ``3h`` or ``2d`` in seconds.

    Raises:
        ReproError: If the text is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhd])", text.strip())
    if match is None:
        raise ReproError(f"{text!r} is not a duration; write 90s, 45m, 3h or 2d")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _image_counts(spec: Spec) -> tuple[int, int]:
    dataset = spec["dataset"]
    whole = DATASETS[dataset["name"]]
    train, test = dataset["train_images"] or whole.train_images, dataset["test_images"] or whole.test_images
    held_out = round(train * dataset["validation_fraction"])
    return train - held_out, test + held_out


def _setting(spec: Spec, threads: int | None) -> str:
    """What an image's time depends on: size, model, kind of quantiser, arithmetic and threads.

    Quantising the weights alone costs 2 % of a step at most, by whatever rule (benchmarks/README.md), clips and the
    optimiser's update about as little. Methods that also quantise inputs or gradients each are a kind of their own.
    """
    weights, inputs = spec["quantizer"]["name"], spec["activation_quantizer"]["name"]
    kind = weights if weights in COSTLY_QUANTIZERS else inputs
    shape = DATASETS[spec["dataset"]["name"]].image_shape
    setting = (dict(spec["model"]), shape, kind, spec["precision"], threads, spec["batch_size"])
    return " ".join(map(str, setting))


def _recorded_rates(results: Path) -> dict[str, float]:
    """Seconds of an epoch a training image (evaluation included), by setting, from this kind of processor."""
    here = processor_name()
    rates: dict[str, list[float]] = {}
    for path in find_records(results):
        try:
            record = read_record(path)
        except RecordError:
            continue  # the report lists unreadable records
        if "source_run" in record.summary:
            continue  # PTQ: no epoch to take the time of
        whole = record.summary["epochs_run"] and "train_images" in record.data and "wall_seconds" in record.timing
        if whole and record.environment.get("device") == "cpu" and record.environment.get("processor") == here:
            key = _setting(record.spec, record.environment.get("torch_threads"))
            rates.setdefault(key, []).append(_seconds_per_image(record))
    return {key: sorted(values)[len(values) // 2] for key, values in rates.items()}


def mean_rates(plan: Plan, results: Path) -> dict[str, float] | None:
    """Rates as of a probe, from the mean of all epochs of the scale on disk; ``None`` where there is none yet."""
    images = seconds = 0.0
    for run in plan:
        if run.epochs_to_train:
            try:
                rows = read_csv_rows(run.directory(results) / EPOCHS_NAME)
                took = sum(float(row["wall_seconds"]) for row in rows)
            except (RecordError, KeyError, ValueError):
                continue  # `scale_status` names it
            if math.isfinite(took):
                images += len(rows) * _image_counts(run.spec)[0]
                seconds += took
    return {"train": seconds / images, "evaluate": 0.0} if images else None


def _seconds_per_image(record: Record) -> float:
    images: int = record.summary["epochs_run"] * record.data["train_images"]
    return float(record.timing["wall_seconds"]) / images
