"""What stands on the page, and in which order: a new table or figure is a line here."""

from collections.abc import Sequence
from dataclasses import dataclass

from repro.config import Config
from repro.report.experiments import members
from repro.report.figures.ablation import ABLATION, FULL_PRECISION
from repro.report.figures.accuracies import BIT_WIDTHS, METHODS, group_plot
from repro.report.figures.clip import SHRINK, SOFT_CLIP
from repro.report.figures.cost import THROUGHPUT
from repro.report.figures.curves import CURVES10, CURVES100
from repro.report.figures.fidelity import FOLLOWS10, FOLLOWS100
from repro.report.figures.levels import LEVELS
from repro.report.figures.pipeline import PIPELINE
from repro.report.figures.plot import Plot
from repro.report.tables.ablation import TABLE7
from repro.report.tables.accuracy import MAIN, PARITY, TABLE2
from repro.report.tables.cost import COST, INFERENCE
from repro.report.tables.groups import group_table
from repro.report.tables.methods import OPTIMIZERS, SIDE_BY_SIDE
from repro.report.tables.published import PUBLISHED_NUMBERS
from repro.report.tables.related import TABLE1, TABLE6
from repro.report.tables.table import Table
from repro.report.tables.training import TABLE3, TABLE4, TABLE5


@dataclass(frozen=True)
class Block:
    """A table with the figures that argue beside it, or figures alone.

    Attributes:
        table: The table.
        plots: The figures.
        groups: Groups of config.yaml that it shows; the others get a table and a figure of their own.
    """

    table: Table | None
    plots: Sequence[Plot] = ()
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """A part of the page."""

    name: str
    title: str
    blocks: Sequence[Block]


def contents(config: Config) -> list[Part]:
    """The parts with tables and figures, in the page's order."""

    def group(name: str, *plots: Plot) -> list[Block]:
        if not members(config, name):
            return []
        return [Block(group_table(config, name), plots or (group_plot(config, name),), (name,))]

    parts = [
        Part("accuracy", "Accuracy", [
            Block(MAIN, (CURVES10, CURVES100), ("main", "fp32", "validated")),
            Block(PARITY, (FULL_PRECISION,)),
            Block(TABLE2),
        ]),
        Part("ablation", "Ablation", [Block(TABLE7, (ABLATION,), ("ablation",))]),
        Part("training", "Training", [
            *group("schedules"),
            Block(TABLE3, (FOLLOWS10, FOLLOWS100)),
            Block(TABLE4, (LEVELS, SHRINK)),
            Block(None, (SOFT_CLIP, PIPELINE)),
        ]),
        Part("methods", "Methods", [
            *group("bit_width", BIT_WIDTHS),
            *group("baselines"),
            *group("ptq"),
            *group("formats"),
            Block(TABLE1),
            Block(PUBLISHED_NUMBERS, (), ("published",)),
            Block(SIDE_BY_SIDE, (METHODS,)),
            Block(OPTIMIZERS),
        ]),
        Part("cost", "Cost", [
            Block(COST, (THROUGHPUT,)),
            Block(TABLE5, (), ("mobile",)),
            Block(INFERENCE),
            Block(TABLE6),
        ]),
    ]  # fmt: skip
    shown = {name for part in parts for block in part.blocks for name in block.groups}
    groups = dict.fromkeys(experiment.group for experiment in config.experiments.values())
    others = [block for name in groups if name not in shown for block in group(name)]
    return [*parts, *([Part("others", "Other experiments", others)] if others else [])]
