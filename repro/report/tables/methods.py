"""All ways to few bits that were run, side by side, and what 4 bits cost under each optimiser."""

from collections.abc import Iterator
from dataclasses import replace

from repro.analysis import estimate
from repro.config import Config, Experiment
from repro.config.registry import QUANTIZERS
from repro.report.cells import Cell, our_cell, words
from repro.report.experiments import is_quantized, main_run, members, partner_of, row_titles
from repro.report.tables.columns import accuracy, difference, measured
from repro.report.tables.table import Column, Row, Table
from repro.report.view import View
from repro.report.vocabulary import BEST, LAST, MEASURED, OURS, RULES

OPTIMIZER_GROUP = "optimizers"
SHARED = ("model", "dataset", "optimizer", "gradient_clip", "weight_clip", "schedule", "epochs", "batch_size",
          "start_from")  # fmt: skip


def compared(config: Config) -> list[Experiment]:
    """The main run's model and data under its training, whatever is quantised and however; each run once.

    In the order of config.yaml, the unquantised one first. The first experiment of those with the same settings names
    them all.
    """
    main = main_run(config, "cifar10")
    if main is None:
        return []
    found: list[Experiment] = []
    for other in config.experiments.values():
        same = all(other.settings[key] == main.settings[key] for key in SHARED)  # type: ignore[literal-required]
        if same and not other.fixed_epochs and all(other.settings != known.settings for known in found):
            found.append(other)
    return sorted(found, key=lambda experiment: is_quantized(experiment.settings))


def _compared_rows(view: View) -> Iterator[Row]:
    experiments = compared(view.config)
    titles = row_titles(view, experiments)
    for experiment in experiments:
        partner = partner_of(view.config, experiment)
        yield Row(titles[experiment.name], experiment.name, partner, data=experiment)


def _kind(view: View, row: Row) -> str:
    """Of a run: alone it would keep the rows of all others in the table."""
    if view.runs(row.experiment).empty:
        return ""
    settings = row.data.settings
    if settings["ptq"]["name"] != "none":
        return "after training"
    if not is_quantized(settings):
        return "nothing"
    method = QUANTIZERS.get(settings["quantizer"]["name"])
    own_inputs = method is not None and method.input_bits is not None
    return "weights and inputs" if own_inputs or settings["activation_quantizer"]["name"] != "none" else "weights"


def _oscillating(view: View, row: Row) -> Cell:
    """Of the seeds whose record has it: older ones do not, nor a run whose last epoch another one trained."""
    runs = view.runs(row.experiment)
    runs = runs[runs["oscillating_share"].notna()]
    about = Cell(OURS, unit="%", experiment=row.experiment or "", measure="oscillating_share")
    return about if runs.empty else about.of(runs).at(estimate(runs["oscillating_share"]))


SIDE_BY_SIDE = Table(
    "side_by_side",
    "Methods side by side",
    "Every method in the main run's training, or on its unquantised weights. Bits: a file's, with scales and all that "
    "stays in FP32.",
    _compared_rows,
    (
        Column("kind", "what is quantised", MEASURED, lambda view, row: words(_kind(view, row), OURS)),
        Column("packed_bits", "bits a parameter", MEASURED,
               lambda view, row: replace(our_cell(view, row.experiment, "packed_bits", "bits"), digits=2)),
        measured(BEST, f"{RULES[BEST]} (%)", aside=True),
        accuracy(LAST),
        difference(LAST, "gap to unquantised", "gap"),
        Column("oscillating_share", "weights that oscillate (%)", MEASURED, _oscillating),
    ),
    lambda view: [experiment.name for experiment in compared(view.config)],
)  # fmt: skip


def _optimizer_rows(view: View) -> Iterator[Row]:
    for experiment in members(view.config, OPTIMIZER_GROUP):
        if is_quantized(experiment.settings):
            title = experiment.title.removesuffix(", 4-bit")
            yield Row(title, experiment.name, partner_of(view.config, experiment), data=experiment)


OPTIMIZERS = Table(
    "optimizers",
    "Which optimiser do 4 bits cost least?",
    "Each optimiser unquantised and at 4 bits, the same training otherwise, with the paper's two clips and without.",
    _optimizer_rows,
    (
        Column("plain", "unquantised, last epoch (%)", MEASURED,
               lambda view, row: our_cell(view, row.reference, LAST, "%")),
        measured(LAST, "4-bit, last epoch (%)"),
        difference(BEST, "gap, best", "gap", aside=True),
        difference(LAST, "gap, last epoch", "gap"),
    ),
    lambda view: [experiment.name for experiment in members(view.config, OPTIMIZER_GROUP)],
)  # fmt: skip
