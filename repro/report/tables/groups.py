"""A table for every group of config.yaml that has none of its own: whatever is in the registry shows."""

from collections.abc import Iterator, Mapping
from typing import Any

from repro.config import Config, Experiment
from repro.paper import read_table
from repro.report.cells import Cell, our_cell
from repro.report.experiments import is_quantized, main_run, members, partner_of, row_titles
from repro.report.tables.columns import accuracy, difference, measured
from repro.report.tables.table import Column, Row, Table
from repro.report.view import View
from repro.report.vocabulary import BEST, LAST, MEASURED, OURS, VALIDATED

# Title and caption of a group; a group without an entry is named by its own name.
ABOUT: Mapping[str, tuple[str, str]] = {
    "anchor": (
        "Does bfloat16 train as FP32 does?",
        "The first 30 epochs of the main run and of its unquantised twin, in either arithmetic.",
    ),
    "baselines": (
        "Does another quantiser do as well?",
        "The methods behind table II's quoted rows, and PACT and LSQ, with the paper's model, data and schedule.",
    ),
    "bit_width": (
        "How many bits does the method need?",
        "The paper's training with nothing changed but the bit width; 4 bits are the main run.",
    ),
    "formats": (
        "Weight formats of related work",
        "Number formats of table I's systems as weight quantisers on this model, trained from scratch: formats, not "
        "systems, which also quantise more than weights or train other models.",
    ),
    "optimizers": (
        "Optimisers at 4 bits and unquantised",
        "The main run's training under other optimisers, with the paper's two clips and without.",
    ),
    "outlook": (
        "The paper's own future work",
        "Section VII: learned bounds, 4-bit activations, schedules that never rise, and a transformer.",
    ),
    "ptq": (
        "Does 4-bit need training at all?",
        "Post-training quantisation of the unquantised run's weights: the gap is what quantising costs.",
    ),
    "quantizers": (
        "Quantisers of later work",
        "Each in the main run's training; the first and the last layer stay in FP32 where its authors keep them so.",
    ),
    "rounding": (
        "Rounding and biases after training",
        "Post-training quantisation that learns where each weight rounds to, makes up for its errors or corrects the "
        "biases, of the weights of FP32 as the other methods.",
    ),
    "schedules": (
        "Does the schedule matter?",
        "The paper names warm restarts, ran one cosine on past its end, and advises a single one: all three.",
    ),
}
DEFAULT_CAPTION = "Every experiment of the group, beside FP32 and the paper's method with the same data."


def find_group(config: Config, name: str) -> tuple[list[Experiment], list[Experiment]]:
    """The experiments of a group, and FP32 and the main run of each of its data sets that are not among them."""
    own = members(config, name)
    wanted = {member.settings["dataset"]["name"] for member in own} or {read_table("table2")["data"]}
    mains = [main for data in read_table("table3")["datasets"] if data in wanted and (main := main_run(config, data))]
    names = [name for main in mains for name in (partner_of(config, main), main.name) if name]
    return own, [config.experiments[name] for name in names if config.experiments[name] not in own]


def group_about(group: str) -> tuple[str, str]:
    """Title and caption of a group."""
    return ABOUT.get(group, (group.replace("_", " ").capitalize(), DEFAULT_CAPTION))


def group_table(config: Config, group: str) -> Table:
    """The table of a group: accuracy, gap to the same training in FP32, bits, levels and size."""
    own, references = find_group(config, group)

    def rows(view: View) -> Iterator[Row]:
        titles = row_titles(view, [*references, *own])
        for member in (*references, *own):
            note = "" if member in references else what_differs(config, member)
            yield Row(titles[member.name], member.name, partner_of(config, member), note=note, data=member)

    return Table(
        f"group_{group}", *group_about(group), rows,
        (
            accuracy(BEST),
            accuracy(LAST),
            measured(VALIDATED, "chosen on validation (%)", aside=True),
            difference(BEST, "gap, best", "gap", aside=True),
            difference(LAST, "gap to unquantised", "gap"),
            measured("weight_bits", "bits a weight", "bits"),
            _levels("final_levels_min", "fewest levels"),
            _levels("final_levels_max", "most levels", aside=True),
            measured("packed_bytes", "packed (MiB)", "MiB"),
        ),
        lambda view: [member.name for member in own or references],
    )  # fmt: skip


def _levels(measure: str, title: str, *, aside: bool = False) -> Column:
    def cell(view: View, row: Row) -> Cell:
        quantized = is_quantized(row.data.settings)
        return our_cell(view, row.experiment, measure, "levels") if quantized else Cell(OURS, unit="levels")

    return Column(measure, title, MEASURED, cell, aside)


def what_differs(config: Config, experiment: Experiment) -> str:
    """The settings in which an experiment differs from the main run of its data, such as ``quantizer nf4``."""
    settings = experiment.settings
    main = main_run(config, settings["dataset"]["name"])
    if main is None:
        return ""
    keys = [key for key in {**main.settings, **settings} if settings.get(key) != main.settings.get(key)]
    return "; ".join(f"{key.replace('_', ' ')}: {_words(settings.get(key))}" for key in keys)


def _words(value: Any) -> str:
    if not isinstance(value, Mapping):
        return "none" if value is None else str(value)
    options = [f"{key.replace('_', ' ')} {option}" for key, option in value.items() if key != "name" and option]
    return ", ".join([str(value["name"]), *options])


def _suite_rows(view: View) -> Iterator[Row]:
    titles = row_titles(view, view.config.experiments.values())
    for member in view.config.experiments.values():
        if len(view.runs(member.name)):
            yield Row(f"{member.group}: {titles[member.name]}", member.name, partner_of(view.config, member))


# Only where there are other scales: digits stand in no table of the paper then.
DIGITS = Table(
    "digits",
    "The whole suite on handwritten digits",
    "Small pictures of digits in place of CIFAR: they show that every experiment runs, and say nothing of the paper.",
    _suite_rows,
    (accuracy(BEST), accuracy(LAST), difference(LAST, "gap to FP32, last", "gap")),
    lambda view: view.config.experiments,
)
