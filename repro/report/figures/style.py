"""The looks that all figures share: colours, type and lines."""

from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import seaborn as sns

from repro.report.vocabulary import COLORS

INK, SOFT, LINE, SHEET = (COLORS[name][0] for name in ("ink", "soft", "line", "page"))
THEIRS_COLOR, LOG_COLOR, OURS_COLOR, PLAIN_COLOR = (COLORS[name][0] for name in ("paper", "log", "ours", "plain"))
BAD = COLORS["bad"][0]
BEHIND = {"facecolor": SHEET, "edgecolor": "none", "pad": 0.6}  # words: no line runs through them

STYLE: dict[Any, Any] = {
    **sns.axes_style("ticks"),
    "axes.edgecolor": SOFT, "axes.facecolor": SHEET, "axes.labelcolor": INK, "axes.labelsize": 7.6,
    "axes.linewidth": 0.6, "axes.grid": True, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 7.6, "axes.titlelocation": "left", "axes.titlecolor": INK, "figure.facecolor": SHEET,
    "font.family": "DejaVu Sans",
    "font.size": 7.6, "grid.color": LINE, "grid.linewidth": 0.5, "legend.frameon": False, "legend.fontsize": 7.4,
    "legend.handletextpad": 0.5, "legend.columnspacing": 1.2, "lines.linewidth": 1.3, "savefig.facecolor": SHEET,
    "svg.fonttype": "none",  # text stays text: small, and it can be searched
    "svg.hashsalt": "repro",  # the same figure gives the same bytes
    "text.color": INK, "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "xtick.labelsize": 7.2, "ytick.labelsize": 7.2, "xtick.major.size": 2.5, "ytick.major.size": 0,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6,
}  # fmt: skip


def figure_style() -> AbstractContextManager[None]:
    """The settings under which a figure is drawn and saved."""
    return mpl.rc_context(STYLE)
