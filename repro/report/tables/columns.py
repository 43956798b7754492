"""Columns that several tables have."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from repro.config import Config, Experiment
from repro.paper import log_summary, read_logs
from repro.report.cells import Cell, log_cell, our_cell, our_difference, paper_cell, words
from repro.report.tables.table import Column, Row
from repro.report.view import View
from repro.report.vocabulary import MEASURED, OURS, RULES, THEIR_LOG, THEIRS

# What makes a run a quantised one; everything else in its settings is the training that it shares with its partner.
QUANTIZATION = ("quantizer", "activation_quantizer", "quantized_layers", "ptq")
NOTHING: Mapping[str, Any] = {"name": "none"}


def printed(key: str, title: str, unit: str) -> Column:
    """A value as the paper prints it."""
    return Column(f"paper {key}", title, THEIRS, lambda view, row: paper_cell(row.printed.get(key), unit, row.place))


def logged(measure: str, title: str, unit: str = "%") -> Column:
    """A figure of the authors' log over its whole run."""

    def cell(view: View, row: Row) -> Cell:
        images = read_logs()[row.log]["test_images"] if row.log else None
        return log_cell(log_summary(row.log)[measure] if row.log else None, unit, images)

    return Column(f"log {measure}", title, THEIR_LOG, cell)


def measured(measure: str, title: str, unit: str = "%", *, group: str = MEASURED, aside: bool = False) -> Column:
    """A figure of the runs' records."""
    return Column(measure, title, group, lambda view, row: our_cell(view, row.experiment, measure, unit), aside)


def accuracy(rule: str) -> Column:
    """Test accuracy under a rule of selection."""
    return measured(rule, f"{RULES[rule]} (%)")


def difference(rule: str, title: str, unit: str = "points", *, aside: bool = False) -> Column:
    """A row's accuracy less that of its reference (``points``), or the reverse (``gap``), over common seeds."""

    def cell(view: View, row: Row) -> Cell:
        return our_difference(view, row.experiment, row.reference, rule, unit)

    return Column(f"{unit} {rule}", title, MEASURED, cell, aside)


def said(key: str, title: str, group: str, text: Callable[[View, Row], str]) -> Column:
    """Words."""
    return Column(key, title, group, lambda view, row: words(text(view, row), OURS, row.place))


def row_titles(view: View, experiments: Iterable[Experiment]) -> dict[str, str]:
    """A title for each experiment by name; two blocks may share one, and a row needs its own."""
    known = {member.name: title_of(view, member.name) for member in experiments}
    titles = list(known.values())
    return {name: title if titles.count(title) == 1 else f"{title} ({name})" for name, title in known.items()}


def title_of(view: View, name: str) -> str:
    """An experiment's title at a scale; its name where config.yaml does not have it."""
    known = view.config.experiments.get(name)
    if known is None:
        return name
    return known.title if is_quantized(known.settings) else known.title.replace("FP32", view.plain_name)


def members(config: Config, group: str) -> list[Experiment]:
    """The experiments of a group in the order of config.yaml."""
    return [experiment for experiment in config.experiments.values() if experiment.group == group]


def is_quantized(settings: Mapping[str, Any]) -> bool:
    """Whether anything is quantised, in training or after it."""
    return any(settings.get(key, NOTHING) != NOTHING for key in ("quantizer", "activation_quantizer", "ptq"))


def partner_of(config: Config, experiment: Experiment) -> str | None:
    """The experiment that trains the same without quantisation: itself where it has none, ``None`` where none does."""
    training = _training(experiment)
    return next(
        (
            other.name
            for other in config.experiments.values()
            if not is_quantized(other.settings) and _training(other) == training
        ),
        None,
    )


def _training(experiment: Experiment) -> tuple[bool, dict[str, Any]]:
    rest = {key: value for key, value in experiment.settings.items() if key not in QUANTIZATION}
    return experiment.fixed_epochs, rest
