"""What stands on the page, and in which order: a new table or figure is a line here."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from repro.config import Config
from repro.report import figures, tables
from repro.report.figures import Plot
from repro.report.figures.methods import METHODS
from repro.report.tables import Table
from repro.report.tables.columns import members
from repro.report.tables.methods import OPTIMIZERS, SIDE_BY_SIDE


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
    blocks: Sequence[Block] = field(default_factory=list)


def contents(config: Config) -> list[Part]:
    """The parts with tables and figures, in the page's order."""

    def group(name: str, *plots: Plot) -> list[Block]:
        if not members(config, name):
            return []
        return [Block(tables.group_table(config, name), plots or (figures.group_plot(config, name),), (name,))]

    parts = [
        Part("accuracy", "Accuracy", [
            Block(tables.MAIN, (figures.CURVES10, figures.CURVES100), ("main", "fp32", "validated")),
            Block(tables.PARITY, (figures.FULL_PRECISION,)),
            Block(tables.TABLE2),
        ]),
        Part("ablation", "Ablation", [Block(tables.TABLE7, (figures.ABLATION,), ("ablation",))]),
        Part("training", "Training", [
            *group("schedules"),
            Block(tables.TABLE3),
            Block(tables.TABLE4, (figures.LEVELS, figures.SHRINK)),
            Block(None, (figures.SOFT_CLIP, figures.PIPELINE)),
        ]),
        Part("methods", "Methods", [
            *group("bit_width", figures.BIT_WIDTHS),
            *group("baselines"),
            *group("ptq"),
            *group("formats"),
            Block(tables.TABLE1),
            Block(tables.PUBLISHED_NUMBERS, (), ("published",)),
            Block(SIDE_BY_SIDE, (METHODS,)),
            Block(OPTIMIZERS),
        ]),
        Part("cost", "Cost", [
            Block(tables.COST, (figures.THROUGHPUT,)),
            Block(tables.TABLE5, (), ("mobile",)),
            Block(tables.INFERENCE),
            Block(tables.TABLE6),
        ]),
    ]  # fmt: skip
    shown = {name for part in parts for block in part.blocks for name in block.groups}
    groups = dict.fromkeys(experiment.group for experiment in config.experiments.values())
    others = [block for name in groups if name not in shown for block in group(name)]
    return [*parts, *([Part("others", "Other experiments", others)] if others else [])]
