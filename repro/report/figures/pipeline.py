"""Figure 1: the training step as the paper draws it, and in the order of the code that runs."""

from difflib import SequenceMatcher
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from repro.paper import read_table
from repro.report.figures.plot import Drawing, Plot, canvas
from repro.report.figures.style import INK, SHEET, SOFT, THEIRS_COLOR
from repro.report.view import View

PRINTED, AS_RUN = "As the paper draws it", "As run here"
LABELS = {
    "weight_clip": ("Tanh soft clip", "W ← 3 tanh(W / 3)"),
    "scale": ("Scale per layer", "c = max |W|,  s = c / 7"),
    "quantize": ("4-bit quantisation", "Wq = round(W / s) · s"),
    "forward": ("Forward pass with Wq", ""),
    "backward": ("Backward pass", "straight-through to W"),
    "gradient_clip": ("Gradient clip", "global norm ≤ 0.5"),
    "optimizer": ("AdamW update", ""),
}
# The order of a step of the trainer; tests/report compare it with the trainer's and the quantiser's source.
CODE_ORDER = ("scale", "quantize", "forward", "backward", "gradient_clip", "optimizer", "weight_clip")
HALF = 0.34  # half the height of a box, in units of the distance between boxes
LEFT, RIGHT = 0.13, 0.99  # of a box, share of the panel


def pipeline_steps() -> pd.DataFrame:
    """One row a box: ``panel``, ``order``, ``steps``, ``title``, ``formula``, ``moved``.

    A box is moved where it breaks the longest order that both have in common.
    """
    printed: list[list[str]] = read_table("figure1")["boxes"]
    by_run = [step for box in printed for step in sorted(box, key=CODE_ORDER.index)]  # a box states no order inside
    matcher = SequenceMatcher(a=by_run, b=list(CODE_ORDER), autojunk=False)
    kept = {step for block in matcher.get_matching_blocks() for step in by_run[block.a : block.a + block.size]}
    rows = [
        {
            "panel": panel,
            "order": order,
            "steps": " ".join(steps),
            "title": " + ".join(LABELS[step][0] for step in steps),
            "formula": ", ".join(LABELS[step][1] for step in steps if LABELS[step][1]),
            "moved": not kept.issuperset(steps),
        }
        for panel, boxes in ((PRINTED, printed), (AS_RUN, [[step] for step in CODE_ORDER]))
        for order, steps in enumerate(boxes, 1)
    ]
    return pd.DataFrame(rows)


def _draw(view: View) -> Drawing:
    """Both orders beside each other, boxes that moved marked."""
    frame = pipeline_steps()
    tallest = int(frame["order"].max())
    figure, [axes] = canvas([(0.43 * tallest, 0.08, 2)], left=0.08, right=0.05, between=0.14, head=0.5)
    for ax, (title, boxes) in zip(axes, frame.groupby("panel", sort=False), strict=True):
        _boxes(ax, boxes, tallest, read_table("figure1")["back"] if title == PRINTED else "next step")
        ax.set_title(str(title), color=SOFT, pad=1)
    return Drawing(figure, frame.assign(scale=""))


def _boxes(ax: Axes, boxes: pd.DataFrame, tallest: int, back: str) -> None:
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(tallest + 0.5, 0.5))
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0,
                             "mutation_scale": 7}  # fmt: skip
    for box in boxes.to_dict("records"):
        y, moved = box["order"], box["moved"]
        patch = FancyBboxPatch(
            (LEFT, y - HALF), RIGHT - LEFT, 2 * HALF, boxstyle="round,pad=0,rounding_size=0.02", mutation_aspect=4,
            facecolor=SHEET, edgecolor=THEIRS_COLOR if moved else SOFT, linewidth=1.6 if moved else 0.7,
            linestyle="--" if moved else "-",
        )  # fmt: skip
        ax.add_patch(patch)
        lines = [box["title"], *([box["formula"]] if box["formula"] else [])]
        ax.text((LEFT + RIGHT) / 2, y, "\n".join(lines), ha="center", va="center", size=6.9, linespacing=1.25)
        if y < len(boxes):
            ax.annotate("", ((LEFT + RIGHT) / 2, y + 1 - HALF), ((LEFT + RIGHT) / 2, y + HALF), arrowprops=arrow)
    last, x = len(boxes), 0.07
    ax.plot([LEFT, x, x], [last, last, 1], color=INK, linewidth=0.8)
    ax.annotate("", (LEFT, 1), (x, 1), arrowprops=arrow)
    ax.text(x - 0.015, (1 + last) / 2, back, rotation=90, ha="right", va="center", size=6.9)


PIPELINE = Plot(
    "figure1",
    "Figure 1: is the step drawn in the order in which it runs?",
    "Dashed: the box that differs. As drawn, the initial weights would be clipped first and the evaluated ones not; "
    "the paper's caption says that the clip comes after each update.",
    "Two flow charts of a training step, boxes from top to bottom; the one that differs in order is dashed.",
    _draw,
    alone=True,
)
