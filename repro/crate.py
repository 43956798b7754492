"""The results of a scale with what made them, as a Workflow Run RO-Crate (https://w3id.org/ro/wfrun/workflow/0.5)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

import repro
from repro.config import Plan
from repro.errors import ReproError
from repro.records import EPOCHS_NAME, EXPORT_NAME, LAYERS_NAME, Record, RecordError, find_records, read_record

WORKFLOW, CONFIGURATION = "Snakefile", "config.yaml"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
LICENCE = "https://spdx.org/licenses/MIT"
FORMATS = {".json": "application/json", ".csv": "text/csv"}
PAPER = "https://arxiv.org/abs/2603.13931"


def write_crate(plan: Plan, results: Path, configuration: Path, directory: Path) -> tuple[int, list[str]]:
    """Write the records of the plan's scale, the workflow and its configuration into a folder, described.

    Args:
        plan: The scale.
        results: Folder of the records.
        configuration: The configuration file; the workflow lies beside it.
        directory: A new folder.

    Returns:
        Number of runs in the crate, and a reason for each record that could not be read.

    Raises:
        ReproError: If there is no workflow or no record, or the folder is not empty.
    """
    workflow = configuration.with_name(WORKFLOW)
    if not workflow.is_file():
        raise ReproError(f"{workflow}: not there; run this in the project's folder")
    if directory.exists() and any(directory.iterdir()):
        raise ReproError(f"{directory}: not empty; name a new folder")
    records, skipped = _read(results / plan.scale.name)
    if not records:
        raise ReproError(f"{results / plan.scale.name}: no record of scale {plan.scale.name} that can be read")
    crate = _described(plan)
    about = {"name": "The workflow", "version": repro.__version__, "url": PAPER}
    made_by = crate.add_workflow(workflow, WORKFLOW, main=True, lang="snakemake", properties=about)
    settings = crate.add_file(configuration, CONFIGURATION, properties={"encodingFormat": "application/yaml"})
    trainer = crate.add(_software(crate))
    files = {record.key: _add_files(crate, path, results) for path, record in records}
    for _, record in records:
        sources = [files[key][0] for key in [record.summary.get("source_run")] if key in files]
        crate.root_dataset.append_to(
            "mentions", _training(crate, record, trainer, [settings, *sources], files[record.key])
        )
    whole = _action(crate, "#workflow", f"All runs of scale {plan.scale.name}", [record for _, record in records])
    whole["instrument"], whole["object"] = made_by, settings
    whole["description"] = f"snakemake --config scale={plan.scale.name}"
    whole["result"] = [file for several in files.values() for file in several]
    crate.root_dataset.append_to("mentions", whole)
    crate.write(directory)
    return len(records), skipped


def _read(folder: Path) -> tuple[list[tuple[Path, Record]], list[str]]:
    records, skipped = [], []
    for path in find_records(folder.parent):
        if path.is_relative_to(folder):
            try:
                records.append((path, read_record(path)))
            except RecordError as error:
                skipped.append(str(error))
    return records, skipped


def _described(plan: Plan) -> ROCrate:
    crate = ROCrate(version="1.1")  # what the profiles build on
    crate.name = f"True 4-bit training, reproduced: results of scale {plan.scale.name}"
    crate.description = f"Records of every run: {plan.scale.description}. The paper is {PAPER}."
    crate.license = crate.add(ContextEntity(crate, LICENCE, {"@type": "CreativeWork", "name": "MIT License"}))
    profiles = [
        crate.add(ContextEntity(crate, address, {"@type": "CreativeWork", "name": name, "version": address[-3:]}))
        for address, name in PROFILES.items()
    ]
    crate.root_dataset["conformsTo"] = profiles
    crate.metadata["conformsTo"] = [{"@id": "https://w3id.org/ro/crate/1.1"}, profiles[-1]]
    return crate


def _software(crate: ROCrate) -> Entity:
    about = {"@type": "SoftwareApplication", "name": "repro", "softwareVersion": repro.__version__, "url": PAPER}
    return ContextEntity(crate, "#repro", about)


def _add_files(crate: ROCrate, path: Path, results: Path) -> list[Entity]:
    """A run's files, the record first."""
    files = [path, *(path.with_name(name) for name in (EPOCHS_NAME, LAYERS_NAME, EXPORT_NAME))]
    return [
        crate.add_file(
            file,
            f"results/{file.relative_to(results).as_posix()}",
            properties={"encodingFormat": FORMATS[file.suffix], "name": f"{file.name} of {path.parent.name}"},
        )
        for file in files
        if file.exists()
    ]


def _training(
    crate: ROCrate, record: Record, trainer: Entity, inputs: Sequence[Entity], results: Sequence[Entity]
) -> Entity:
    """One run: a training, or a quantisation of another run's weights."""
    action = _action(crate, f"#{record.key}", f"{record.experiment}, seed {record.seed}", [record])
    values = {
        "experiment": record.experiment,
        "scale": record.scale,
        "seed": record.seed,
        "spec_hash": record.spec_hash,
    }
    settings = [
        crate.add(
            ContextEntity(crate, f"#{record.key}/{name}", {"@type": "PropertyValue", "name": name, "value": value})
        )
        for name, value in values.items()
    ]
    action["instrument"], action["object"], action["result"] = trainer, [*inputs, *settings], list(results)
    action["description"] = f"python -m repro train {record.experiment} --scale {record.scale} --seed {record.seed}"
    return action


def _action(crate: ROCrate, identifier: str, name: str, records: Sequence[Record]) -> Entity:
    about: dict[str, Any] = {
        "@type": "CreateAction",
        "name": name,
        "startTime": min(record.timing["started_at"] for record in records),
        "endTime": max(record.timing["ended_at"] for record in records),
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    return crate.add(ContextEntity(crate, identifier, about))
