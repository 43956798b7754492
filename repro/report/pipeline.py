"""Figure 1: the training step as the paper draws it, and in the order of the code that runs."""

import ast
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import repro
from repro.analysis import Evidence
from repro.paper import read_table
from repro.report.panels import grid_axes
from repro.report.style import COLORS, INK, PAPER, figure_style

PRINTED, AS_RUN = "As the paper draws it (figure 1)", "As run here (order of the code)"
LABELS = {
    "weight_clip": ("Tanh soft clip", "W ← 3 tanh(W / 3)"),
    "scale": ("Dynamic scale, per layer", "c = max |W|,  s = c / 7"),
    "quantize": ("4-bit quantisation", "Wq = clamp(round(W / s), −7, 7) · s"),
    "forward": ("Forward pass with Wq", ""),
    "backward": ("Backward pass, straight-through", "gradient of W = gradient of Wq"),
    "gradient_clip": ("Gradient clipping", "global norm ≤ 0.5"),
    "optimizer": ("AdamW update on W", ""),
}
# Calls in the code and the steps of the figure that they are. The model's own call contains the quantiser's.
STEP_CALLS = {
    "self.model": "forward",
    "loss.backward": "backward",
    "clip_gradients": "gradient_clip",
    "self.optimizer.step": "optimizer",
    "self.weight_clip.step": "weight_clip",
}
QUANTIZER_CALLS = {"self.scale": "scale", "fake_quantize": "quantize"}


def code_order() -> list[str]:
    """Steps of ``LABELS`` in the order in which the trainer's step makes them, read from its source, not imported."""
    package = Path(repro.__file__).parent
    quantizer = _calls(package / "quant" / "uniform.py", "UniformQuantizer", "forward")
    steps: list[str] = []
    for call in _calls(package / "train" / "trainer.py", "Trainer", "_step"):
        if call == "self.model":
            steps += [QUANTIZER_CALLS[inner] for inner in quantizer if inner in QUANTIZER_CALLS]
        if call in STEP_CALLS:
            steps.append(STEP_CALLS[call])
    return steps


def _calls(path: Path, class_name: str, method: str) -> list[str]:
    """Names called in a method, such as ``self.optimizer.step``, in the order of evaluation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bodies = [
        member
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == class_name
        for member in node.body
        if isinstance(member, ast.FunctionDef) and member.name == method
    ]
    return [name for body in bodies for name in _in_order(body)]


def _in_order(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)
    if isinstance(node, ast.Call):  # after its arguments, which are evaluated first
        yield ast.unparse(node.func)


def pipeline_steps(evidence: Evidence) -> pd.DataFrame:
    """One row a box: ``panel``, ``scale`` (none), ``order``, ``steps``, ``title``, ``formula``, ``moved``.

    A box is moved where it breaks the longest order that both have in common.

    Args:
        evidence: Not used: the figure is drawn from the paper's data and from the code.
    """
    printed: list[list[str]] = read_table("figure1")["boxes"]
    run = code_order()
    by_run = [step for box in printed for step in sorted(box, key=run.index)]  # a box states no order inside
    matcher = SequenceMatcher(a=by_run, b=run, autojunk=False)
    kept = {step for block in matcher.get_matching_blocks() for step in by_run[block.a : block.a + block.size]}
    rows = []
    for panel, boxes in ((PRINTED, printed), (AS_RUN, [[step] for step in run])):
        for order, steps in enumerate(boxes):
            rows.append(
                {
                    "panel": panel,
                    "scale": "",
                    "order": order + 1,
                    "steps": " ".join(steps),
                    "title": " + ".join(LABELS[step][0] for step in steps),
                    "formula": ", ".join(LABELS[step][1] for step in steps if LABELS[step][1]),
                    "moved": not kept.issuperset(steps),
                }
            )
    return pd.DataFrame(rows)


HALF = 0.33  # half the height of a box, in units of the distance between boxes
EDGES = (0.12, 0.98)  # left and right of a box, share of the panel


def draw_pipeline(frame: pd.DataFrame) -> Figure:
    """Both orders beside each other, boxes that moved marked."""
    tallest = int(frame["order"].max())
    with figure_style():
        figure, [axes] = grid_axes([(0.68 * tallest, 0.25, 2)], left=0.15, right=0.15, between=0.35)
        for ax, (title, boxes) in zip(axes, frame.groupby("panel", sort=False), strict=True):
            back = read_table("figure1")["back"] if title == PRINTED else "next step"
            _draw_boxes(ax, boxes, tallest, back)
            ax.set_title(str(title))
    return figure


def _draw_boxes(ax: Axes, boxes: pd.DataFrame, tallest: int, back: str) -> None:
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(tallest + 0.5, 0.5))
    left, right = EDGES
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    for box in boxes.to_dict("records"):
        y, moved = box["order"], box["moved"]
        color = COLORS[3] if moved else INK
        ax.add_patch(
            FancyBboxPatch(
                (left, y - HALF), right - left, 2 * HALF, boxstyle="round,pad=0,rounding_size=0.02",
                mutation_aspect=4, facecolor=PAPER, edgecolor=color, linewidth=2.2 if moved else 1.0,
                linestyle="--" if moved else "-",
            )
        )  # fmt: skip
        lines = [box["title"] + ("  (order differs)" if moved else ""), *([box["formula"]] if box["formula"] else [])]
        ax.text((left + right) / 2, y, "\n".join(lines), ha="center", va="center", fontsize=9, linespacing=1.4)
        if y < len(boxes):
            ax.annotate("", ((left + right) / 2, y + 1 - HALF), ((left + right) / 2, y + HALF), arrowprops=arrow)
    last, x = len(boxes), 0.05
    ax.plot([left, x, x], [last, last, 1], color=INK, linewidth=1.1)
    ax.annotate("", (left, 1), (x, 1), arrowprops=arrow)
    ax.text(x - 0.012, (1 + last) / 2, back, rotation=90, ha="right", va="center", fontsize=9)
