"""What the report holds, in the page's order. Adding a table or a figure is one function and one entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from repro.analysis import Evidence
from repro.report.curves import curves, draw_cifar10, draw_cifar100
from repro.report.forest import ablation_points, draw_ablation
from repro.report.listings import coverage, runs_used, show_coverage, show_plain, show_runs
from repro.report.present import show_cells
from repro.report.tables import main_table, table2, table3, table4, table7

OVERVIEW, RESULTS, RECORDS = "overview", "results", "records"


@dataclass(frozen=True)
class TableEntry:
    """A table of the report.

    Attributes:
        title: Heading.
        caption: What it shows and where each part comes from.
        build: The evidence as the frame that the CSV holds.
        show: That frame as formatted text.
        part: Part of the page: overview, results or records.
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
    """

    title: str
    caption: str
    alt: str
    data: Callable[[Evidence], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]


SOURCES = (
    "Paper: values as printed in arXiv 2603.13931v1, which states neither n nor a seed. "
    "Measured: run records under results/; mean ± 95 % t-interval over seeds, or with one seed n = 1 and, "
    "for test accuracies, the binomial standard error (SE) of the test set."
)
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
    "table2": TableEntry(
        "Table II: accuracy against baselines, CIFAR-10",
        "The paper quotes its FP32 baseline and the ranges from elsewhere. Measured gaps are the FP32 run with the "
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
    "table7": TableEntry(
        "Table VII: ablation",
        "Every experiment of the group ablation in config.yaml. The paper does not define “w/o Per-Layer Scaling”: "
        "each reading shows its value. Differences are the row minus the full method, the paper's by subtraction of "
        f"what it prints. No log of an ablation is published. {SOURCES}",
        table7,
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
        "Records that serve no experiment of config.yaml as it stands. They are in no table.",
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
}
