"""What a scale would cost on this machine before it is run."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.config import Plan, Run
from repro.config.schema import DATASET_SIZES
from repro.errors import ReproError
from repro.records import DIVERGED, Record, RecordError, find_records, read_record
from repro.records.environment import available_cores, has_gpu, processor_name
from repro.status import FINISHED, scale_status

START_SECONDS = 6.0  # imports, data, FLOP count and the record; measured 5 to 7 s

Probe = Callable[[Run], Mapping[str, float]]


@dataclass(frozen=True)
class PlannedRun:
    """One run and what it still costs.

    Attributes:
        run: Which run.
        state: As in ``repro.status``.
        epochs_left: Epochs still to train.
        seconds: Estimate for them, alone on its threads; 0 where the run is cached.
        source: ``cached``, ``records`` (of this machine) or ``probe``.
    """

    run: Run
    state: str
    epochs_left: int
    seconds: float
    source: str


def plan_scale(plan: Plan, results: Path, probe: Probe) -> list[PlannedRun]:
    """Every run of the plan's scale with its state and cost.

    An epoch's time comes from records that this kind of processor made with the same model,
    arithmetic and threads, and where there is none, or a GPU, from ``probe``, once a setting.

    Args:
        plan: The scale.
        results: Folder of the records.
        probe: Gives seconds an image of training and evaluation, as ``repro.train.probe``.
    """
    recorded = {} if has_gpu() else _recorded_rates(results)
    probed: dict[str, Mapping[str, float]] = {}
    planned = []
    for entry in scale_status(plan, results):
        run = entry.run
        if entry.state in (FINISHED, DIVERGED):
            planned.append(PlannedRun(run, entry.state, 0, 0.0, "cached"))
            continue
        left = run.spec["epochs"] - entry.epoch
        train, test = _image_counts(run.spec)
        key = _setting(run.spec, run.torch_threads)
        if key in recorded:
            seconds, source = recorded[key] * train * left, "records"
        else:
            if key not in probed:
                probed[key] = probe(run)
            rates = probed[key]
            seconds, source = (rates["train"] * train + rates["evaluate"] * test) * left, "probe"
        planned.append(PlannedRun(run, entry.state, left, START_SECONDS + seconds, source))
    return planned


def wall_seconds(planned: list[PlannedRun], cores: int | None = None) -> float:
    """Estimated wall time of all runs, as many at once as have a core for each of their threads."""
    to_train = [entry for entry in planned if entry.seconds]
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


def _image_counts(spec: Mapping[str, Any]) -> tuple[int, int]:
    dataset = spec["dataset"]
    train, test = DATASET_SIZES[dataset["name"]]
    train, test = dataset["train_images"] or train, dataset["test_images"] or test  # a resolved limit is a real one
    held_out = round(train * dataset["validation_fraction"])
    return train - held_out, test + held_out


def _setting(spec: Mapping[str, Any], threads: int) -> str:
    """What an image's time depends on, as far as it matters: model, arithmetic, threads, quantised or not."""
    quantized = spec["quantizer"]["name"] != "none"
    return f"{dict(spec['model'])} {spec['precision']} {threads} {spec['batch_size']} {quantized}"


def _recorded_rates(results: Path) -> dict[str, float]:
    """Seconds of an epoch a training image (evaluation included), by setting, from this kind of processor."""
    here = processor_name()
    rates: dict[str, list[float]] = {}
    for path in find_records(results):
        try:
            record = read_record(path)
        except RecordError:
            continue  # the report lists unreadable records
        if record.environment.get("device") == "cpu" and record.environment.get("processor") == here:
            key = _setting(record.spec, record.environment["torch_threads"])
            rates.setdefault(key, []).append(_seconds_per_image(record))
    return {key: sorted(values)[len(values) // 2] for key, values in rates.items()}


def _seconds_per_image(record: Record) -> float:
    images: int = record.summary["epochs_run"] * record.data["train_images"]
    return float(record.timing["wall_seconds"]) / images
