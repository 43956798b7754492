"""Figures 3 and 4: accuracy over epochs, with the learning rate and the levels in use."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro.analysis import Evidence
from repro.paper import authors_log, parse_printed, read_logs, read_table
from repro.records import DIVERGED
from repro.report.labels import data_label, epochs_label, seeds_label
from repro.report.style import COLORS, INK, THEIR_COLOR, figure_style, plain, stack_axes

LOG = "authors' log"
QUOTED = "paper: FP32 baseline"
PEAK = "paper: best"
MARKED_UP_TO = 30  # epochs; longer curves are drawn without a mark a point


def curves(evidence: Evidence, dataset: str) -> pd.DataFrame:
    """The curves of one data set's main run, one row an epoch and series.

    Args:
        evidence: The records.
        dataset: ``cifar10`` or ``cifar100``: picks the log and the experiment that repeats it.

    Returns:
        ``panel``, ``scale``, ``data``, ``series``, ``seed``, ``status``, ``epoch``, ``epochs`` (of the series),
        ``learning_rate``, ``test_accuracy`` (per cent), ``levels_min``, ``levels_mean``. The log stands only
        beside runs on the same data; where there are none, in a panel of its own.
    """
    experiment = read_logs()[dataset]["experiment"]
    parts, log_shown = [], False
    for scale in evidence.scales_with([experiment]):
        runs = evidence.select(scale, experiment)
        if runs.empty:
            continue
        ours = [_our_curve(evidence, scale, experiment, seed, row) for seed, row in runs.iterrows()]
        names = list(dict.fromkeys(runs["data"]))
        panel = f"Scale {scale} · {', '.join(map(data_label, names))} · {seeds_label(runs.index)} (n = {len(runs)})"
        if names == [dataset]:
            ours.insert(0, _log_curve(dataset))
            log_shown = True
        parts.append(pd.concat(ours, ignore_index=True).assign(panel=panel, scale=scale))
    if not log_shown:
        title = f"Authors' log alone · {data_label(dataset)} · one run, no seed set · not run here"
        parts.insert(0, _log_curve(dataset).assign(panel=title, scale=""))
    return pd.concat(parts, ignore_index=True)


def _log_curve(dataset: str) -> pd.DataFrame:
    log = authors_log(dataset)[["epoch", "learning_rate", "test_accuracy", "levels_min", "levels_mean"]]
    log = log.assign(test_accuracy=log["test_accuracy"] * 100, data=dataset, epochs=len(log), status="completed")
    return log.assign(series=f"{LOG} ({epochs_label(len(log))})", seed=-1)


def _our_curve(evidence: Evidence, scale: str, experiment: str, seed: Any, run: pd.Series) -> pd.DataFrame:
    def mine(frame: pd.DataFrame) -> pd.DataFrame:
        keys = (frame["scale"] == scale) & (frame["experiment"] == experiment) & (frame["seed"] == seed)
        rows: pd.DataFrame = frame[keys]
        return rows

    levels = mine(evidence.layers).groupby("epoch")["levels"].agg(levels_min="min", levels_mean="mean").reset_index()
    curve = mine(evidence.epochs)[["epoch", "learning_rate", "test_accuracy"]].merge(levels, on="epoch", how="left")
    remark = ", diverged" if run["status"] == DIVERGED else ""
    epochs = int(run["epochs"])
    return curve.assign(
        test_accuracy=curve["test_accuracy"] * 100, data=run["data"], epochs=epochs, status=run["status"],
        series=f"ours, seed {seed} ({epochs_label(epochs)}{remark})", seed=seed,
    )  # fmt: skip


def draw_cifar10(frame: pd.DataFrame) -> Figure:
    """Figure 3: accuracy and learning rate, with the paper's quoted FP32 baseline."""
    fp32 = parse_printed(read_table("table2")["rows"][0]["values"]["accuracy"]).low
    return _draw(frame, "cifar10", with_levels=False, baseline=fp32)


def draw_cifar100(frame: pd.DataFrame) -> Figure:
    """Figure 4: accuracy, learning rate and levels in use."""
    return _draw(frame, "cifar100", with_levels=True, baseline=None)


def _draw(frame: pd.DataFrame, dataset: str, *, with_levels: bool, baseline: float | None) -> Figure:
    panels = list(frame.groupby("panel", sort=False))
    heights = [2.6, 0.8, *([1.0] if with_levels else [])]
    gaps = [0.16] * (len(heights) - 1) + [0.95]
    with figure_style():
        figure, axes = stack_axes(heights * len(panels), gaps * len(panels), left=1.15, right=2.9)
        for index, (title, panel) in enumerate(panels):
            start = index * len(heights)
            _draw_panel(axes[start : start + len(heights)], str(title), panel, dataset, baseline)
    return figure


def _draw_panel(axes: list[Axes], title: str, panel: pd.DataFrame, dataset: str, baseline: float | None) -> None:
    shared = panel["epochs"].nunique() == 1
    panel = panel.assign(x=panel["epoch"] if shared else 100 * panel["epoch"] / panel["epochs"])
    names = list(dict.fromkeys(panel["series"]))
    ours = [name for name in names if not name.startswith(LOG)]
    palette = dict.fromkeys(names, THEIR_COLOR) | dict(zip(ours, _colors(len(ours)), strict=True))
    measures = ["test_accuracy", "learning_rate", "levels_mean"][: len(axes)]
    labels = ["test accuracy (%)", "learning\nrate", "levels in use\n(mean, fewest)"]
    for ax, measure, label in zip(axes, measures, labels, strict=False):
        _lines(ax, panel, measure, palette, "-")
        ax.set(ylabel=label, xlabel="")
        ax.yaxis.set_label_coords(-0.14, 0.5)
        if ax is not axes[-1]:
            ax.sharex(axes[-1])
            ax.tick_params(labelbottom=False)
    if len(axes) > 2:
        _lines(axes[2], panel, "levels_min", palette, ":")
    handles = [Line2D([], [], color=palette[name], label=plain(name)) for name in names]
    if set(panel["data"]) == {dataset}:
        handles += _paper_marks(axes[0], panel, dataset, baseline)
    axes[0].set_title(plain(title))
    axes[0].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    axes[-1].set_xlabel("epoch" if shared else "share of the run (% of its epochs)")


def _colors(count: int) -> list[str]:
    return [COLORS[index % len(COLORS)] for index in range(count)]


def _lines(ax: Axes, panel: pd.DataFrame, measure: str, palette: dict[str, str], style: str) -> None:
    marked = panel["epochs"].min() <= MARKED_UP_TO
    for name, series in panel.groupby("series", sort=False):
        few = marked and len(series) <= MARKED_UP_TO
        sns.lineplot(
            data=series, x="x", y=measure, color=palette[str(name)], linestyle=style, ax=ax, estimator=None,
            errorbar=None, legend=False, linewidth=1.4, marker="o" if few else None, markersize=4, markeredgewidth=0,
        )  # fmt: skip


def _paper_marks(ax: Axes, panel: pd.DataFrame, dataset: str, baseline: float | None) -> list[Line2D]:
    """What the paper prints about this curve, drawn only over its own data; the legend's entries for it."""
    rows = {row["measure"]: row for row in read_table("table3")["rows"]}
    best, epoch = (rows[measure]["values"][dataset] for measure in ("best_test_accuracy", "best_test_epoch"))
    of = len(authors_log(dataset))
    x = parse_printed(epoch).low * (1 if panel["epochs"].nunique() == 1 else 100 / of)
    style: dict[str, Any] = {
        "marker": "D",
        "markerfacecolor": "none",
        "markeredgecolor": INK,
        "linestyle": "none",
        "markersize": 6,
    }
    ax.plot([x], [parse_printed(best).low], **style)
    handles = [Line2D([], [], label=f"{PEAK}, {best} at epoch {epoch}", **style)]
    if baseline is not None:
        line: dict[str, Any] = {"color": COLORS[3], "linestyle": "--", "linewidth": 1.1}
        ax.axhline(baseline, **line)
        handles.append(Line2D([], [], label=f"{QUOTED}, {baseline:g} (quoted)", **line))
    return handles
