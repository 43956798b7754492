"""Figures 3 and 4: accuracy over epochs, with the learning rate and the levels in use."""

from functools import partial
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from repro.paper import authors_log, parse_printed, read_logs, read_table
from repro.report.experiments import partner_of
from repro.report.figures.dots import PAPER_MARK
from repro.report.figures.plot import Drawing, Plot, canvas
from repro.report.figures.style import LOG_COLOR, OURS_COLOR, PLAIN_COLOR
from repro.report.view import View
from repro.report.vocabulary import BEST, LOG, counted

OURS, PLAIN = "4-bit", "unquantised"
LOOKS: dict[str, dict[str, Any]] = {
    LOG: {"color": LOG_COLOR, "linestyle": "-"},
    OURS: {"color": OURS_COLOR, "linestyle": "-"},
    PLAIN: {"color": PLAIN_COLOR, "linestyle": "--"},
}
MARKED_UP_TO = 30  # epochs; longer curves are drawn without a mark a point
PANELS = {"test_accuracy": ("test accuracy (%)", 1.75), "learning_rate": ("rate", 0.5), "levels_min": ("levels", 0.5)}


def curves(view: View, dataset: str) -> pd.DataFrame:
    """The curves of one data set's main run and of its FP32 partner, one row an epoch, series and seed.

    Returns:
        ``scale``, ``series``, ``seed``, ``epoch``, ``epochs`` (of the series), ``x`` (epoch, or share of the run where
        lengths differ), ``learning_rate``, ``test_accuracy`` (per cent), ``levels_min``, ``levels_mean``. The
        authors' log stands beside runs on the same data, or alone where there are none.
    """
    main = read_logs()[dataset]["experiment"]
    known = view.config.experiments.get(main)
    plain = partner_of(view.config, known) if known else None
    names = {OURS: main, PLAIN: plain or ""}
    parts = [_ours(view, name, series) for series, name in names.items() if len(view.runs(name))]
    if not parts or set(view.runs(main)["data"]) <= {dataset}:
        parts.insert(0, _log(dataset))
    frame = pd.concat(parts, ignore_index=True)
    shared = frame["epochs"].nunique() == 1
    x = frame["epoch"] if shared else 100 * frame["epoch"] / frame["epochs"]
    return frame.assign(scale=view.scale, x=x, test_accuracy=frame["test_accuracy"] * 100)


def _log(dataset: str) -> pd.DataFrame:
    log = authors_log(dataset)[["epoch", "learning_rate", "test_accuracy", "levels_min", "levels_mean"]]
    return log.assign(series=LOG, seed=-1, epochs=len(log))


def _ours(view: View, experiment: str, series: str) -> pd.DataFrame:
    layers = view.frame("layers", experiment)
    keys = ["seed", "epoch"]
    levels = layers.groupby(keys)["levels"].agg(levels_min="min", levels_mean="mean").reset_index()
    rows = view.frame("epochs", experiment)[[*keys, "learning_rate", "test_accuracy"]]
    epochs = view.runs(experiment)["epochs"].max()
    return rows.merge(levels, on=keys, how="left").assign(series=series, epochs=epochs)


def _draw(view: View, dataset: str, measures: tuple[str, ...]) -> Drawing:
    frame = curves(view, dataset)
    shared = frame["epochs"].nunique() == 1
    names = [name for name in LOOKS if name in set(frame["series"])]
    handles = [Line2D([], [], label=_label(frame, name), **_look(frame, name)) for name in names]
    beside = LOG in names
    handles += [PAPER_MARK.handle] if beside else []
    heights = [(PANELS[name][1], 0.09, 1) for name in measures[:-1]] + [(PANELS[measures[-1]][1], 0.42, 1)]
    figure, grid = canvas(heights, left=0.46, legend=handles)
    axes = [row[0] for row in grid]
    for ax, measure in zip(axes, measures, strict=True):
        _lines(ax, frame, measure, names)
        ax.set(ylabel=PANELS[measure][0], xlabel="")
        ax.yaxis.set_label_coords(-0.085, 0.5)
        ax.set_xlim(0, float(frame["x"].max()) * 1.02)
        if ax is not axes[-1]:
            ax.tick_params(labelbottom=False, bottom=False)
    if beside:
        _paper_mark(axes[0], dataset, shared)
    axes[-1].set_xlabel("epoch" if shared else "share of the run (% of its epochs)")
    return Drawing(figure, frame)


def _label(frame: pd.DataFrame, name: str) -> str:
    rows = frame[frame["series"] == name]
    count = "" if name == LOG else f", {counted(rows['seed'].nunique(), 'seed')}"
    return f"{name}{count} ({rows['epochs'].max():.0f} epochs)"


def _look(frame: pd.DataFrame, name: str) -> dict[str, Any]:
    """Keywords of a series' line, the same in the panels and in the legend."""
    few = frame.loc[frame["series"] == name, "epochs"].max() <= MARKED_UP_TO
    marks: dict[str, Any] = {"marker": "o", "markersize": 3, "markeredgewidth": 0} if few else {}
    return {**LOOKS[name], "linewidth": 1.2, **marks}


def _lines(ax: Axes, frame: pd.DataFrame, measure: str, names: list[str]) -> None:
    """The mean over seeds, and a band from the lowest to the highest."""
    for name in names:
        rows = frame[(frame["series"] == name) & frame[measure].notna()]
        if rows.empty:
            continue
        seeds = rows.groupby("x")[measure].agg(["min", "mean", "max"])
        if rows["seed"].nunique() > 1:
            ax.fill_between(seeds.index, seeds["min"], seeds["max"], color=LOOKS[name]["color"], alpha=0.2, linewidth=0)
        line = seeds.reset_index()
        sns.lineplot(line, x="x", y="mean", ax=ax, estimator=None, legend=False, **_look(frame, name))


def _paper_mark(ax: Axes, dataset: str, shared: bool) -> None:
    """The paper's best accuracy at its epoch."""
    values = {row["measure"]: row.get("values", {}) for row in read_table("table3")["rows"]}
    best, epoch = (parse_printed(values[name][dataset]).low for name in (BEST, "best_test_epoch"))
    ax.plot([epoch if shared else 100 * epoch / len(authors_log(dataset))], [best], **PAPER_MARK.look)


CURVES10 = Plot(
    "figure3",
    "Figure 3: CIFAR-10 training; does the rate restart?",
    "Lines are means over seeds, bands reach from the lowest to the highest seed. The rate's only rise is that of the "
    "cosine that runs on past its end.",
    "Line chart of test accuracy over epochs for 4-bit, unquantised and the authors' log, with the learning rate.",
    partial(_draw, dataset="cifar10", measures=("test_accuracy", "learning_rate")),
    lambda view: [read_logs()["cifar10"]["experiment"]],
    alone=True,
)
CURVES100 = Plot(
    "figure4",
    "Figure 4: CIFAR-100 training; do the levels stay full?",
    "As figure 3; below, the fewest levels of any layer, of 15 possible.",
    "Line chart of test accuracy over epochs, with the learning rate and the fewest levels in use of any layer.",
    partial(_draw, dataset="cifar100", measures=("test_accuracy", "learning_rate", "levels_min")),
    lambda view: [read_logs()["cifar100"]["experiment"]],
    alone=True,
)
