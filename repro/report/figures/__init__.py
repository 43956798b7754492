"""Figures: each one function from the records of a scale to a drawing."""

from repro.report.figures.ablation import ABLATION, FULL_PRECISION
from repro.report.figures.cost import THROUGHPUT
from repro.report.figures.curves import CURVES10, CURVES100
from repro.report.figures.files import inline_svg, to_bytes
from repro.report.figures.groups import BIT_WIDTHS, group_plot
from repro.report.figures.pipeline import PIPELINE
from repro.report.figures.plot import Drawing, Plot
from repro.report.figures.statements import STATEMENTS
from repro.report.figures.weights import LEVELS, SHRINK, SOFT_CLIP

__all__ = [
    "ABLATION", "BIT_WIDTHS", "CURVES10", "CURVES100", "FULL_PRECISION", "LEVELS", "PIPELINE", "SHRINK", "SOFT_CLIP",
    "STATEMENTS", "THROUGHPUT", "Drawing", "Plot", "group_plot", "inline_svg", "to_bytes",
]  # fmt: skip
