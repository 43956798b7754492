"""How figures look, and how they become files."""

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("Agg")

import seaborn as sns

# The page replaces these two by its own text colour and by nothing, so that figures follow light and dark.
INK = "#1b1b1d"
PAPER = "#fefefe"
WIDTH, TOP = 8.8, 0.35  # inches
THEIR_COLOR = "#808080"
COLORS = [str(color) for color in sns.color_palette("colorblind").as_hex()]

STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": PAPER,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "font.size": 9,
    "grid.color": "#808080",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 8.5,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text: small, and it can be searched
    "svg.hashsalt": "repro",  # the same figure gives the same bytes
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
NO_METADATA: dict[str, dict[str, Any]] = {
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    "png": {"Software": None},
}


def figure_style() -> AbstractContextManager[None]:
    """The settings under which a figure is drawn and saved."""
    return mpl.rc_context(STYLE)


def stack_axes(heights: Sequence[float], gaps: Sequence[float], left: float, right: float) -> tuple[Figure, list[Axes]]:
    """Axes below each other at fixed places; an automatic layout differs in its last digits from run to run.

    Args:
        heights: Height of each, in inches.
        gaps: Space below each, in inches, room for its tick labels included.
        left: Left margin in inches.
        right: Right margin in inches.

    Returns:
        The figure, which belongs to no global state, so that nothing needs closing, and its axes.
    """
    total = TOP + sum(heights) + sum(gaps)
    figure = Figure(figsize=(WIDTH, total))
    axes, y = [], total - TOP
    for height, gap in zip(heights, gaps, strict=True):
        y -= height
        axes.append(figure.add_axes((left / WIDTH, y / total, (WIDTH - left - right) / WIDTH, height / total)))
        y -= gap
    return figure, axes


def plain(text: str) -> str:
    """Text that matplotlib must not read as mathematics."""
    return text.replace("$", r"\$")


def to_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as ``svg`` or ``png``, without a date in it."""
    buffer = io.BytesIO()
    with figure_style():
        figure.savefig(buffer, format=kind, dpi=150, metadata=NO_METADATA[kind])
    return buffer.getvalue()


def inline_svg(svg: bytes, name: str) -> str:
    """An SVG file as part of a page: no prolog, ids of its own, the page's colours.

    Args:
        svg: The file.
        name: Prefix that keeps the ids of several figures apart.
    """
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = text.replace(PAPER, "none").replace(INK, "currentColor")
    return text.replace("<svg ", '<svg aria-hidden="true" ', 1)
