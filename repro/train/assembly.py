"""What trainings and quantisations after training begin and end with: a trainer, and a record."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from repro.config import CORE_VERSION, Run
from repro.records import Record
from repro.train.device import choose_device, set_arithmetic
from repro.train.files import tensors_digest
from repro.train.measure import count_parameters, describe_layers, model_sizes
from repro.train.settings import Settings
from repro.train.surroundings import describe_data, load_data
from repro.train.trainer import Trainer


def make_trainer(run: Run, settings: Settings, weights: Mapping[str, Tensor] | None = None) -> tuple[Trainer, int]:
    """The run's trainer with its data on the device that was asked for, and the number of CPU threads.

    ``weights`` are those that it begins with; by default random ones.
    """
    device = choose_device(settings.device)
    threads = run.torch_threads if settings.threads is None else settings.threads
    set_arithmetic(device, threads, run.spec["precision"])
    return Trainer(run.spec, run.seed, load_data(run, settings.data_dir), device, weights), threads


def assemble_record(
    run: Run,
    group: str,
    trainer: Trainer,
    *,
    judged: tuple[str, str],
    summary: Mapping[str, Any],
    compute: Mapping[str, float],
    timing: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> Record:
    """The record of a run that has ended, with what is measured of its model.

    Args:
        run: Which run.
        group: Its experiment's group.
        trainer: Its model and data.
        judged: Status and reason, as ``outcome.judge`` gives them.
        summary: Without the counts of parameters.
        compute: As in the record, and so the others.
        timing: The same.
        environment: The same.
    """
    status, reason = judged
    return Record(
        experiment=run.experiment,
        group=group,
        scale=run.scale,
        seed=run.seed,
        spec=run.spec,
        spec_hash=run.spec_hash,
        core_version=CORE_VERSION,
        status=status,
        reason=reason,
        summary={
            **count_parameters(trainer.model),
            **summary,
            "weights_sha256": tensors_digest(trainer.model.state_dict()),
        },
        data=describe_data(trainer.data),
        layers=describe_layers(trainer.model),
        size=model_sizes(trainer.model),
        compute=compute,
        timing=timing,
        environment=environment,
    )
