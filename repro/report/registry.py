"""What the report holds, in the page's order. Adding a table or a figure is one function and one entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from repro.analysis import Evidence
from repro.claims import judge_claims
from repro.report.bit_widths import bit_width_points, draw_bit_widths
from repro.report.cost import cost_points, cost_table, draw_cost
from repro.report.curves import curves, draw_cifar10, draw_cifar100
from repro.report.forest import ablation_points, draw_ablation
from repro.report.heat_map import draw_level_map, level_map
from repro.report.inference import INFERENCE_CAPTION, inference_table
from repro.report.ledger import CLAIMS, show_claims
from repro.report.listings import coverage, runs_used, show_coverage, show_plain, show_runs
from repro.report.method_figure import draw_methods, method_points
from repro.report.methods import METHOD_GROUPS, METHODS_NOTE, method_table
from repro.report.parity import PARITY_CAPTION, TESTS_CAPTION, ablation_tests, parity_table
from repro.report.pipeline import draw_pipeline, pipeline_steps
from repro.report.present import show_cells
from repro.report.related import table1, table5, table6
from repro.report.shrink import draw_shrink, shrink_curves
from repro.report.soft_clip import clip_effects, draw_clip_effects
from repro.report.tables import main_table, table2, table3, table4, table7

OVERVIEW, RESULTS, BEYOND, LEDGER, RECORDS = "overview", "results", "beyond", "ledger", "records"


@dataclass(frozen=True)
class TableEntry:
    """A table of the report.

    Attributes:
        title: Heading.
        caption: What it shows and where each part comes from.
        build: The evidence as the frame that the CSV holds.
        show: That frame as formatted text.
        part: Part of the page: overview, results, beyond (the paper), ledger or records.
    """

    title: str
    caption: str
    build: Callable[[Evidence], pd.DataFrame]
    show: Callable[[pd.DataFrame], pd.DataFrame] = show_cells
    part: str = RESULTS


@dataclass(frozen=True)
class FigureEntry:
    """A figure of the report.

    Attributes:
        title: Heading.
        caption: What it shows and where each part comes from.
        alt: Description for those who do not see it; the panels' titles are added to it.
        data: The evidence as the frame that is drawn and that the CSV holds; it has a column ``panel``.
        draw: The frame as a figure.
        part: Part of the page, as for tables.
    """

    title: str
    caption: str
    alt: str
    data: Callable[[Evidence], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]
    part: str = RESULTS


OUR_SOURCE = (
    "Measured: run records under results/; mean ± 95 % t-interval over seeds, or with one seed n = 1 and, "
    "for test accuracies, the binomial standard error (SE) of the test set."
)
SOURCES = f"Paper: values as printed in arXiv 2603.13931v1, which states neither n nor a seed. {OUR_SOURCE}"
LOG_SOURCE = "Authors' log: the per-epoch figures of the author's published 150-epoch runs, one run each, no seed set."

TABLES: Mapping[str, TableEntry] = {
    "main": TableEntry("Main comparison", f"{SOURCES} {LOG_SOURCE}", main_table, part=OVERVIEW),
    "coverage": TableEntry(
        "Evidence by scale",
        "Runs that each scale asks for, and those of them with a record. A run that serves several "
        "experiments counts once; a diverged run is a result.",
        coverage,
        show_coverage,
        OVERVIEW,
    ),
    "parity": TableEntry("Full-precision parity, tested", f"{PARITY_CAPTION} {SOURCES}", parity_table),
    "table1": TableEntry(
        "Table I: related 4-bit training work",
        "The paper's words. Measured: parity is the equivalence test of the table above. The rows of IBM, QLoRA and "
        "BitNet measure the weight format of that system on this model, trained from scratch, and not the system: "
        f"theirs has other models and tasks, and quantises more than weights or less than training. {SOURCES}",
        table1,
    ),
    "table2": TableEntry(
        "Table II: accuracy against baselines, CIFAR-10",
        "The paper quotes its FP32 baseline and the ranges from elsewhere, without a method or a model, so that each "
        "row has all readings that this suite runs. Measured gaps are the FP32 run with the "
        f"same training minus the row, over the seeds that both have; below zero the row is better. {SOURCES}",
        table2,
    ),
    "table3": TableEntry(
        "Table III: training summary",
        "The paper's MB are MiB. Its final train accuracy is that of the best epoch in the log. Packed sizes hold "
        f"weights at 4 bits and the rest in FP32. {SOURCES} {LOG_SOURCE}",
        table3,
    ),
    "table4": TableEntry(
        "Table IV: levels in use, CIFAR-10 run",
        "Distinct integer codes a layer. Minimum and maximum over layers, epochs and seeds; mean over layers and "
        "epochs, then seeds. A shortened run is read at the same share of its epochs: the last column but one says "
        f"which. {SOURCES} {LOG_SOURCE}",
        table4,
    ),
    "table5": TableEntry(
        "Table V: the first six epochs on a phone, and on each machine with records",
        "The log is that of the 150-epoch CIFAR-10 run, which says that it ran on a CPU. A record of the same run from "
        f"another machine has rows of its own here, and stands in no other comparison. {SOURCES} {LOG_SOURCE}",
        table5,
    ),
    "table6": TableEntry(
        "Table VI: model sizes",
        "The paper's MB are MiB (1,048,576 bytes). Its count takes every parameter at the bit width and no scales. "
        "Really packed: the weights at 4 bits, biases, batch norm and one scale a layer in FP32; files are what "
        "`python -m repro export` wrote. Arithmetic is for the full width, measured sizes are those of the model of "
        f"the scale. {SOURCES}",
        table6,
    ),
    "table7": TableEntry(
        "Table VII: ablation",
        "Every experiment of the group ablation in config.yaml. The paper does not define “w/o Per-Layer Scaling”: "
        "each reading shows its value. Differences are the row minus the full method, the paper's by subtraction of "
        f"what it prints. No log of an ablation is published. {SOURCES}",
        table7,
    ),
    "table7_tests": TableEntry("Table VII, tested", f"{TESTS_CAPTION} {SOURCES}", ablation_tests),
    **{
        f"methods_{group}": TableEntry(
            title, f"{caption} {METHODS_NOTE} {OUR_SOURCE}", partial(method_table, group=group), part=BEYOND
        )
        for group, (title, caption) in METHOD_GROUPS.items()
    },
    "cost": TableEntry(
        "Cost: throughput against the paper's training time",
        "Needed: what 110 epochs of 50,000 images in 2.5 hours take, with the FLOPs of a training step (forward and "
        "backward, convolutions and linear layers, a multiply-add counts as two); evaluation is left out, so it is a "
        "lower bound. Measured: medians over the runs of a machine of training images/s times the FLOPs that torch's "
        "counter gave, evaluation left out too. Hours: the paper's epochs of its own model at that GFLOP/s.",
        cost_table,
        part=BEYOND,
    ),
    "inference": TableEntry("Inference from the real files", INFERENCE_CAPTION, inference_table, part=BEYOND),
    CLAIMS: TableEntry(
        "The ledger of claims",
        "Every checkable statement of the paper, with a verdict that is computed each time from the records, the "
        "authors' log or arithmetic. A verdict on a measured number needs scale paper; a smaller scale's figure stands "
        "beside it and decides nothing.",
        judge_claims,
        show_claims,
        LEDGER,
    ),
    "runs": TableEntry(
        "Runs used",
        "Every experiment, scale and seed with a record, and the folder under results/ of the run that serves it. "
        "A plus after the commit says that files differed from it.",
        runs_used,
        show_runs,
        RECORDS,
    ),
    "stale": TableEntry(
        "Stale records",
        "Records that serve no experiment of config.yaml as it stands, or whose run has a record already. They are in "
        "no table; runs repeated on another machine stand in table V and the cost alone.",
        lambda evidence: evidence.stale,
        show_plain,
        RECORDS,
    ),
    "unreadable": TableEntry(
        "Unreadable records",
        "Records that could not be read. They are in no table.",
        lambda evidence: evidence.unreadable,
        show_plain,
        RECORDS,
    ),
}

CURVES = (
    "A panel a scale with records. The authors' log is drawn only beside runs on the same data set, over the share "
    "of the run where the lengths differ."
)

FIGURES: Mapping[str, FigureEntry] = {
    "figure1": FigureEntry(
        "Figure 1: the training step",
        "Right: the order is read from the source of the training loop and the quantiser. Left: the paper's boxes; its "
        "caption says that the clip comes after each optimizer update and that the loop repeats each step. In the "
        "loop both are the same cycle, but as drawn the initial weights would be clipped first and the weights that "
        "are evaluated not.",
        "Two flow charts of a training step, boxes from top to bottom; the one that differs in order is dashed.",
        pipeline_steps,
        draw_pipeline,
    ),
    "figure2": FigureEntry(
        "Figure 2: the clipping functions, and what the soft clip does",
        "Top: what each clip makes of a weight. Below: the weights of each layer at the end of a run (thin: to the "
        "largest magnitude over the seeds; thick: the central 99.8 % of the first seed's), and how far the soft clip "
        "moved weights towards zero in an epoch, in levels of the layer (mark: median over epochs and seeds; line: "
        "least to most).",
        "Line chart of tanh and hard clip, then for each scale the range of the weights of each layer beside the bound "
        "of 3, and the shrink of each layer in levels an epoch.",
        clip_effects,
        draw_clip_effects,
    ),
    "figure3": FigureEntry(
        "Figure 3: convergence, CIFAR-10 run",
        f"{CURVES} {LOG_SOURCE} The dashed line and the diamond are the paper's printed values.",
        "Line chart of test accuracy over epochs, with the learning rate below.",
        partial(curves, dataset="cifar10"),
        draw_cifar10,
    ),
    "figure4": FigureEntry(
        "Figure 4: convergence, CIFAR-100 run",
        f"{CURVES} {LOG_SOURCE} The diamond is the paper's printed best. Levels in use: solid the mean over layers, "
        "dotted the fewest of any layer.",
        "Line chart of test accuracy over epochs, with the learning rate and the levels in use below.",
        partial(curves, dataset="cifar100"),
        draw_cifar100,
    ),
    "figure_table7": FigureEntry(
        "Table VII as a figure: ablation",
        "Bars are 95 % t-intervals over seeds, where there are at least two. The paper's values (hollow) are drawn "
        "only beside runs on CIFAR-10; each reading of “w/o Per-Layer Scaling” carries the paper's one value.",
        "Dot plot of test accuracy, one line an ablation; the numbers are those of table VII.",
        ablation_points,
        draw_ablation,
    ),
    "levels": FigureEntry(
        "Levels in use, layer by layer",
        "Distinct integer codes of each layer of the main runs at the end of each epoch, the mean over seeds. The "
        f"authors' log gives no single layer. {LOG_SOURCE}",
        "Heat map of levels in use, one row a layer, one column an epoch; lighter is more.",
        level_map,
        draw_level_map,
        BEYOND,
    ),
    "shrink": FigureEntry(
        "The shrink of soft clipping against the learning rate",
        "Each step takes a 27th of its cube off a weight, whatever the learning rate. Top: largest weight of each "
        "layer with and without the clip, means over seeds; with absmax scaling one level is a seventh of it (both are "
        "in the CSV). Below: how far the clip moved the layer's most moved weight in each epoch, and the rate.",
        "Line charts over epochs: the largest weight of each layer with and without soft clip, its shrink in levels an "
        "epoch, and the learning rate.",
        shrink_curves,
        draw_shrink,
        BEYOND,
    ),
    "bit_widths": FigureEntry(
        "Accuracy against bit width",
        "Runs whose settings differ in nothing but the bit width, and the same training without a quantiser. Thin bars "
        "are 95 % t-intervals over seeds; with one seed there is none, and the pale bar is the binomial standard error "
        "of the test set. The paper's best (hollow) stands only beside runs on its data.",
        "Dot plot of test accuracy by bit width, FP32 at the right.",
        bit_width_points,
        draw_bit_widths,
        BEYOND,
    ),
    "figure_baselines": FigureEntry(
        "Every method beside FP32",
        "Test accuracy of every experiment of the tables of methods, a block a group with an axis of its own. Lines: "
        "FP32 with the same training and the paper's method, both after the last epoch. Bars are 95 % t-intervals over "
        "seeds, where there are at least two. PTQ quantises the weights of the last epoch and has one accuracy.",
        "Dot plot of test accuracy, one line a method, in blocks, with a solid line at FP32 and a dashed one at the "
        "paper's method; the numbers are those of the tables of methods.",
        method_points,
        draw_methods,
        BEYOND,
    ),
    "figure_cost": FigureEntry(
        "Throughput against what the paper's training time needs",
        "GFLOP/s in training, one line a machine, precision and number of threads; hours are those of the paper's "
        "110 epochs of its own model at that rate. Dashed: what 2.5 hours for them need. The numbers are those of the "
        "cost table.",
        "Dot plot of GFLOP/s reached on each machine, with a dashed line at what the paper's time would need.",
        cost_points,
        draw_cost,
        BEYOND,
    ),
}
