"""What the report asks of the experiments of config.yaml: their groups, titles, and which train alike."""

from collections.abc import Iterable, Mapping
from typing import Any

from repro.config import Config, Experiment
from repro.paper import read_table
from repro.report.view import View

# What makes a run a quantised one; everything else in its settings is the training that it shares with its partner.
QUANTIZATION = ("quantizer", "activation_quantizer", "quantized_layers", "ptq")
NOTHING: Mapping[str, Any] = {"name": "none"}


def row_titles(view: View, experiments: Iterable[Experiment]) -> dict[str, str]:
    """A title for each experiment by name; two blocks may share one, and a row needs its own."""
    known = {
        member.name: title_of(view, member.name) + view.evidence.weights_accuracy(view.scale, member.name)
        for member in experiments
    }
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


def main_run(config: Config, data: str) -> Experiment | None:
    """The run that reproduces the paper's on a data set, where the configuration has it."""
    return config.experiments.get(read_table("table3")["datasets"].get(data, {}).get("experiment", ""))


def is_quantized(settings: Mapping[str, Any]) -> bool:
    """Whether anything is quantised, in training or after it."""
    return any(settings.get(key, NOTHING) != NOTHING for key in ("quantizer", "activation_quantizer", "ptq"))


def partner_of(config: Config, experiment: Experiment) -> str | None:
    """The experiment that trains the same without quantisation: itself where it has none, ``None`` where none does."""
    training = _training(experiment)
    plain = (other for other in config.experiments.values() if not is_quantized(other.settings))
    return next((other.name for other in plain if _training(other) == training), None)


def _training(experiment: Experiment) -> tuple[bool, dict[str, Any]]:
    rest = {key: value for key, value in experiment.settings.items() if key not in QUANTIZATION}
    return experiment.fixed_epochs, rest
