"""Whether a training follows the authors' log epoch by epoch."""

from functools import partial
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from repro.analysis import Openings
from repro.paper import authors_log, read_logs
from repro.report.figures.plot import Drawing, Plot, canvas, nothing, whole_ticks
from repro.report.figures.style import LINE, OURS_COLOR, SOFT
from repro.report.view import View
from repro.report.vocabulary import data_label

BAND = 1.0  # points of train accuracy, an average over 50,000 images of an epoch
MEASURES = {"train_accuracy": "train", "test_accuracy": "test"}
STYLES = ("-", "--", ":", "-.")


def beside_log(view: View, dataset: str) -> pd.DataFrame:
    """The main run of a data set beside the log, one row a seed and epoch; accuracies are per cent.

    A seed without a run of its own has the longest run that is its first epochs alone.

    Returns:
        ``scale``, ``experiment`` (whose record it is), ``seed``, ``epoch``, of ``train_accuracy`` and ``test_accuracy``
        the measured figure, and the same with the suffix ``_log``.
    """
    main = read_logs()[dataset]["experiment"]
    shared = Openings(view.evidence).of(view.scale, main)
    found: dict[int, pd.DataFrame] = {}
    for experiment in sorted(shared, key=lambda name: (shared[name], name == main)):
        rows = view.frame("epochs", experiment)
        for seed, own in rows[rows["epoch"] <= shared[experiment]].groupby("seed"):
            found[int(str(seed))] = own
    if not found:
        return pd.DataFrame()
    columns = ["scale", "experiment", "seed", "epoch", *MEASURES]
    frame = pd.concat([found[seed] for seed in sorted(found)])[columns]
    log = authors_log(dataset)[["epoch", *MEASURES]]
    both = frame.merge(log, on="epoch", suffixes=("", "_log"))
    figures = [*MEASURES, *(f"{name}_log" for name in MEASURES)]
    return both.assign(**{name: 100 * both[name] for name in figures})


def _experiments(view: View, dataset: str) -> list[str]:
    """The main run and what shares its first epochs at any scale."""
    main, openings = read_logs()[dataset]["experiment"], Openings(view.evidence)
    return list(dict.fromkeys([main, *(name for scale in view.config.scales for name in openings.of(scale, main))]))


def _draw(view: View, dataset: str) -> Drawing:
    frame = beside_log(view, dataset)
    if frame.empty:
        figure, [[ax]] = canvas([(0.4, 0.1, 1)])
        nothing(ax)
        return Drawing(figure, frame)
    seeds = list(frame.groupby("seed"))
    looks: list[dict[str, Any]] = [
        {"color": OURS_COLOR, "linestyle": STYLES[place % len(STYLES)], "linewidth": 1.2} for place in range(len(seeds))
    ]
    handles = [Line2D([], [], label=_farthest(rows), **look) for (_, rows), look in zip(seeds, looks, strict=True)]
    figure, grid = canvas([(1.0, 0.12, 1), (1.0, 0.42, 1)], left=0.5, legend=handles, columns=1)
    for [ax], (measure, name) in zip(grid, MEASURES.items(), strict=True):
        _base(ax, measure)
        for (_, rows), look in zip(seeds, looks, strict=True):
            line = rows.assign(points=rows[measure] - rows[f"{measure}_log"])
            sns.lineplot(line, x="epoch", y="points", ax=ax, estimator=None, legend=False, **look)
        ax.set(ylabel=f"{name}, points", xlabel="")
        ax.yaxis.set_label_coords(-0.095, 0.5)
        ax.set_xlim(0, float(frame["epoch"].max()) * 1.02)
        whole_ticks(ax)
    grid[0][0].tick_params(labelbottom=False, bottom=False)
    grid[-1][0].set_xlabel("epoch (measured less the authors' log)")
    return Drawing(figure, frame)


def _farthest(rows: pd.DataFrame) -> str:
    """A seed, its epochs, and how far it lies from the log at the most."""
    most = (f"{name} within {(rows[measure] - rows[f'{measure}_log']).abs().max():.2f}"
            for measure, name in MEASURES.items())  # fmt: skip
    return f"seed {rows['seed'].iloc[0]}, {len(rows)} epochs: {', '.join(most)} points"


def _base(ax: Axes, measure: str) -> None:
    """The log itself, and for train accuracy the band."""
    ax.axhline(0, color=SOFT, linewidth=0.8)
    if measure == "train_accuracy":
        ax.axhspan(-BAND, BAND, color=LINE, alpha=0.6, linewidth=0)


def _plot(name: str, dataset: str) -> Plot:
    return Plot(
        name,
        f"{data_label(dataset)}: does the training follow the authors' log?",
        "Accuracy at each epoch less the log's, a line a seed; shaded: one point. A line ends where a seed was trained "
        "for the first epochs alone. At a high rate test accuracy scatters by points from seed to seed.",
        "Line chart of measured train and test accuracy less the authors' log over epochs.",
        partial(_draw, dataset=dataset),
        partial(_experiments, dataset=dataset),
        decides=True,
    )


FOLLOWS10, FOLLOWS100 = _plot("follows10", "cifar10"), _plot("follows100", "cifar100")
