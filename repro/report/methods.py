"""Tables of whole groups of quantisation methods: every experiment of a group is a row, beside FP32 and the method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from repro.analysis import Evidence
from repro.config import Config, Experiment
from repro.paper import read_table
from repro.report.cells import (
    BEST,
    LAST,
    NONE,
    OURS,
    VALIDATED,
    Cell,
    cell_frame,
    our_cell,
    our_difference,
    text_cell,
)
from repro.report.labels import twin
from repro.report.tables import MEASURED, RULES, row_titles, taking_part

METHOD, FROM_CONFIG = "Method", "config.yaml"
FP32 = "FP32"
# What makes a run a quantised one; everything else in its settings is the training that it shares with its partner.
QUANTIZATION = ("quantizer", "activation_quantizer", "quantized_layers", "ptq")
NOTHING: Mapping[str, Any] = {"name": "none"}
# Weight quantisers that bring the quantisation of activations with them, and its bits.
WITH_ACTIVATIONS: Mapping[str, int] = {"int8_qat": 8}
# Group of config.yaml to title and caption; each becomes a table, and a block of the figure.
METHOD_GROUPS: Mapping[str, tuple[str, str]] = {
    "baselines": (
        "Baselines, really run",
        "The methods behind table II's quoted rows, and PACT and LSQ, on the paper's model, data, augmentation, epochs "
        "and schedule. 8-bit QAT: per-channel INT8 weights and per-tensor affine 8-bit activations (Jacob 2018).",
    ),
    "bit_width": (
        "The method at other bit widths",
        "The paper's training with nothing changed but the bit width; 4 bits are the main run.",
    ),
    "formats": (
        "Weight formats of related work",
        "Number formats of table I's systems and of the paper's references as weight quantisers on this model, trained "
        "from scratch. Formats, not systems: the originals also quantise activations, gradients, accumulators or "
        "optimiser states, or train other models; each quantiser's docstring says what is modelled.",
    ),
    "ptq": (
        "Post-training quantisation",
        "The FP32 run's weights after its last epoch, quantised without training: one accuracy, so best and last are "
        "the same, and the gap at the last epoch is the loss by quantisation (same weights, same seed). Bits are those "
        "of the layer that has most.",
    ),
}
METHODS_NOTE = (
    "The first rows are references: FP32 with the same training, and the paper's method. Gaps are the FP32 run of the "
    "same training minus the row over common seeds; below zero the row is better. Levels: distinct integer codes of a "
    "layer after the last epoch, layers in FP32 left out. Packed: the whole model of the scale, quantised weights at "
    "their bits, the rest in FP32."
)
LEVELS = {"final_levels_min": "fewest levels at the end", "final_levels_max": "most levels"}


@dataclass(frozen=True)
class Methods:
    """The rows of a group's table.

    Attributes:
        members: References first: FP32 and the main run of each data set; then the group in the order of config.yaml.
        references: Names of the references.
        partners: Experiment to the one whose accuracy its gap refers to: the same training without quantisation,
            which for PTQ is the very run that was quantised.
    """

    members: list[Experiment]
    references: set[str]
    partners: Mapping[str, str]


def group_methods(config: Config, *groups: str) -> Methods:
    """The experiments of some groups with their references; the references alone where the groups are empty."""
    found = [experiment for experiment in config.experiments.values() if experiment.group in groups]
    datasets = read_table("table3")["datasets"]
    wanted = {experiment.settings["dataset"]["name"] for experiment in found} or {read_table("table2")["data"]}
    references: list[Experiment] = []
    for name, about in datasets.items():
        main = config.experiments.get(about["experiment"])
        if name in wanted and main is not None:
            plain = partner_of(config, main)
            references += [config.experiments[plain]] if plain else []
            references.append(main)
    names = {experiment.name for experiment in references}
    members = references + [experiment for experiment in found if experiment.name not in names]
    partners = {member.name: partner for member in members if (partner := partner_of(config, member)) is not None}
    return Methods(members, names, partners)


def partner_of(config: Config, experiment: Experiment) -> str | None:
    """The experiment that trains the same without quantisation: itself where it has none, ``None`` where none does."""
    return next(
        (
            other.name
            for other in config.experiments.values()
            if not is_quantized(other.settings) and _training(other) == _training(experiment)
        ),
        None,
    )


def _training(experiment: Experiment) -> tuple[bool, dict[str, Any]]:
    rest = {key: value for key, value in experiment.settings.items() if key not in QUANTIZATION}
    return experiment.fixed_epochs, rest


def is_quantized(settings: Mapping[str, Any]) -> bool:
    """Whether anything is quantised, in training or after it."""
    return any(settings.get(key, NOTHING) != NOTHING for key in ("quantizer", "activation_quantizer", "ptq"))


def method_table(evidence: Evidence, group: str) -> pd.DataFrame:
    """What each experiment of a group quantises, its accuracy, its gap to FP32, its levels and its size."""
    methods = group_methods(evidence.config, group)
    titles = row_titles(methods.members)
    own = [member.name for member in methods.members if member.name not in methods.references]
    rules = [BEST, LAST] + [VALIDATED] * any(twin(name) in evidence.config.experiments for name in own)
    cells: list[Cell] = []
    for scale in evidence.scales_with(own or methods.references):
        for member in taking_part(methods.members, scale):
            key = {"scale": scale, "row": titles[member.name]}
            cells += [{**key, "group": METHOD, **cell} for cell in _what(member.settings)]
            cells += [{**key, "group": MEASURED, **cell} for cell in _measured(evidence, scale, member, methods, rules)]
    return cell_frame(cells)


def _what(settings: Mapping[str, Any]) -> list[Cell]:
    """How weights and activations are quantised, by the settings, so that a row says it before it was run."""
    after, during = settings.get("ptq", NOTHING), settings["quantizer"]
    weights = f"PTQ: {_words(after)}" if after != NOTHING else _words(during)
    if settings.get("quantized_layers", "all") != "all":
        weights += "; first and last layer FP32"
    inside = WITH_ACTIVATIONS.get(during["name"])
    activations = f"{inside} bits" if inside else _words(settings.get("activation_quantizer", NOTHING))
    return [
        {"column": "weights", **text_cell(weights, FROM_CONFIG)},
        {"column": "activations", **text_cell(activations, FROM_CONFIG)},
    ]


def _words(method: Mapping[str, Any]) -> str:
    """``absmax, 4 bits``; a method without a choice of bits has them in its name or its measured column."""
    if method == NOTHING:
        return FP32
    bits = f", {method['bit_width']} bits" if "bit_width" in method else ""
    return f"{method['name']}{bits}"


def _measured(evidence: Evidence, scale: str, member: Experiment, methods: Methods, rules: list[str]) -> list[Cell]:
    name, partner = member.name, methods.partners.get(member.name)
    cells: list[Cell] = [{"column": RULES[rule], **our_cell(evidence, scale, name, rule, "%")} for rule in rules]
    for rule, column in ((BEST, "gap to FP32, best (points)"), (LAST, "gap to FP32, last (points)")):
        if partner is None:
            absent: Cell = {"source": OURS, "status": NONE, "unit": "gap", "note": "no FP32 run of this training"}
            cells.append({"column": column, **absent})
        else:
            cells.append({"column": column, **our_difference(evidence, scale, name, partner, rule, "gap")})
    cells.append({"column": "bits a weight", **our_cell(evidence, scale, name, "weight_bits", "bits")})
    for measure, column in LEVELS.items():
        none: Cell = {"source": OURS, "status": NONE, "unit": "levels"}
        levels = our_cell(evidence, scale, name, measure, "levels") if is_quantized(member.settings) else none
        cells.append({"column": column, **levels})
    cells.append({"column": "packed (MiB)", **our_cell(evidence, scale, name, "packed_bytes", "MiB")})
    return cells
