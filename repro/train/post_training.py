"""A PTQ run: the weights of a finished FP32 run, quantised and evaluated, with a record like any other."""

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repro.config import Run
from repro.config.runs import WEIGHTS_NAME, ZERO_RATE_WEIGHTS_NAME
from repro.config.schedules import zero_rate_epoch
from repro.config.spec import split_options
from repro.data import ImageData
from repro.data.augment import normalize
from repro.errors import ReproError
from repro.ptq import quantize_model
from repro.ptq.calibration import CALIBRATION_IMAGES
from repro.quant import quant_layers
from repro.records import COMPLETED, DIVERGED, EPOCH_COLUMNS, Record, write_record
from repro.train.assembly import assemble_record, make_trainer
from repro.train.checkpoint import save_weights
from repro.train.kept import kept_weights, way_to_weights
from repro.train.lock import only_writer
from repro.train.measure import count_flops, layer_rows, rounded
from repro.train.outcome import summarize
from repro.train.run import finished_record
from repro.train.seeds import derive_seed
from repro.train.settings import Settings
from repro.train.surroundings import describe_place, end_of, now, session_environment
from repro.train.trainer import Trainer

logger = logging.getLogger(__name__)


def quantize_run(run: Run, source: Run, settings: Settings) -> Record:
    """Quantise the weights of ``source`` as ``run.spec["ptq"]`` says, measure, and write the record.

    They are its last weights, or those where its learning rate reached zero.
    Batch norm keeps the statistics of training. Calibration computes in FP32; the evaluation computes in the
    spec's precision, as the FP32 run's did.

    Args:
        run: The PTQ run.
        source: The FP32 run of the same settings, scale and seed (``Plan.source``).
        settings: Device, threads and folders; ``stop`` is asked only while another process has the run, since a signal
            handler may raise ``Interrupted`` anywhere else, and no live tracker is called.

    Returns:
        The record; a finished run is only read. ``diverged`` where the quantised network gives no number.

    Raises:
        ReproError: If the source's weights are not there, or not those of this model.
        RunBusyError: If another process works on this run.
        StorageError: If the disk is full.
        Interrupted: If ``settings.stop`` asked for it while this one waited.
    """
    directory = run.directory(settings.results)
    with only_writer(directory, settings):
        return finished_record(run, settings.results) or _quantize(run, source, settings, directory)


def _quantize(run: Run, source: Run, settings: Settings, directory: Path) -> Record:
    started_at, name = now(), _weights_name(run, source, settings.results)
    state = kept_weights(source, settings.results, name)
    trainer, threads = make_trainer(run, settings)
    device = trainer.device
    model, data = trainer.model, trainer.data
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        path = source.directory(settings.results) / name
        raise ReproError(f"{path}: not the weights of this model ({error}); delete it and run again") from None
    compute = count_flops(model, data.image_shape)
    _, before = trainer.evaluate(data.test)  # where they were trained again it is not the source's record
    start = time.perf_counter()
    name, options = split_options(run.spec["ptq"])
    del options["source"]  # which weights, not how
    logger.info("%s: quantising by %s", run.experiment, name)
    quantize_model(model, name, calibration_images(data, run.seed, device), **options)
    logger.info("%s: quantised by %s in %.1f s", run.experiment, name, time.perf_counter() - start)
    figures = trainer.evaluate_splits()
    wall_seconds = time.perf_counter() - start
    row = _epoch_row(run, figures, wall_seconds)
    lost = not math.isfinite(row["test_loss"])
    record = assemble_record(
        run,
        settings.group,
        trainer,
        judged=(DIVERGED, f"test_loss is {row['test_loss']} after quantisation") if lost else (COMPLETED, ""),
        summary={**summarize([row]), "source_run": source.key, "source_test_accuracy": before},
        compute=compute,
        timing={
            "started_at": started_at,
            "ended_at": end_of(started_at, wall_seconds),
            "wall_seconds": round(wall_seconds, 3),
            "train_images_per_second": None,
        },
        environment=session_environment(device, threads, [describe_place(device)]),
    )
    save_weights(directory, model)
    write_record(directory, record, [row], _layer_rows(trainer, row["epoch"]))
    return record


def _weights_name(run: Run, source: Run, results: Path) -> str:
    """Which of its source's weights the run takes.

    Raises:
        ReproError: If there never are such, or they are not there and nothing brings them.
    """
    if run.spec["ptq"]["source"] == "last":
        return WEIGHTS_NAME
    if zero_rate_epoch(source.spec) is None:
        raise ReproError(
            f"{run.experiment}: the learning rate of {source.experiment} does not reach zero before its end at scale "
            f"{source.scale}: give its ptq `source: last`"
        )
    path, last = source.directory(results) / ZERO_RATE_WEIGHTS_NAME, source.weights_path(results)
    if not path.exists() and last.exists():
        raise ReproError(
            f"{path} is not there: PTQ takes the weights of {source.experiment}; delete {last}, made before such "
            f"weights were kept, then {way_to_weights(source, path.parent)}"
        )
    return ZERO_RATE_WEIGHTS_NAME


def calibration_images(data: ImageData, seed: int, device: torch.device) -> Tensor:
    """1,024 training images, or all where there are fewer, in canonical order; normalised, not augmented.

    Args:
        data: The run's data.
        seed: The run's seed, which chooses them.
        device: Where they go.

    Returns:
        [N, C, H, W].
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "calibration"))
    chosen = torch.randperm(len(data.train.labels), generator=generator)[:CALIBRATION_IMAGES].sort().values
    mean, std = torch.tensor(data.mean, device=device), torch.tensor(data.std, device=device)
    return normalize(data.train.images[chosen].to(device), mean, std)


def _epoch_row(run: Run, figures: Mapping[str, float], wall_seconds: float) -> dict[str, Any]:
    """The one row of ``epochs.csv``: at the epoch whose weights were taken; what only training has is empty."""
    row: dict[str, Any] = dict.fromkeys(EPOCH_COLUMNS)
    epoch = zero_rate_epoch(run.spec) if run.spec["ptq"]["source"] == "zero_rate" else run.spec["epochs"]
    return row | {"epoch": epoch, **rounded({**figures, "wall_seconds": wall_seconds})}


def _layer_rows(trainer: Trainer, epoch: int) -> list[dict[str, Any]]:
    """As of a training, but no weight clip moved anything."""
    unmoved = [torch.zeros(1) for _ in quant_layers(trainer.model)]
    nothing = {"shrink_mean_steps": None, "shrink_max_steps": None}
    return [row | nothing for row in layer_rows(trainer.model, unmoved, epoch)]
