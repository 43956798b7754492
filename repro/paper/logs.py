"""The author's published per-epoch figures, in the units of this suite's records."""

from functools import cache

import pandas as pd

from repro.paper.values import FOLDER, read_logs, read_table


@cache
def authors_log(dataset: str) -> pd.DataFrame:
    """One row an epoch of the author's 150-epoch run. Do not change the frame: it is shared.

    Args:
        dataset: ``cifar10`` or ``cifar100``.

    Returns:
        ``epoch``, ``learning_rate``, ``train_loss``, ``test_loss`` (nats), ``train_accuracy``,
        ``test_accuracy`` (fractions), ``levels_min``, ``levels_max``, ``levels_mean`` (over the layers).
    """
    log = pd.read_csv(FOLDER / read_logs()[dataset]["file"]).rename(columns={"lr": "learning_rate"})
    for part in ("train", "test"):
        log[f"{part}_accuracy"] = log.pop(f"{part}_accuracy_pct") / 100
    return log


def paper_length() -> str:
    """How long the paper's runs are, in words: its ablations are shorter than the runs of its log."""
    return f"{len(authors_log('cifar10'))} epochs; {read_table('table7')['epochs']} in the ablation"


def log_summary(dataset: str) -> dict[str, float]:
    """Best and last epoch of a log, named as the columns of the runs (accuracies are fractions)."""
    log = authors_log(dataset)
    best, last = log.iloc[int(log["test_accuracy"].argmax())], log.iloc[-1]
    return {
        "best_test_accuracy": float(best["test_accuracy"]),
        "best_test_epoch": float(best["epoch"]),
        "best_epoch_train_accuracy": float(best["train_accuracy"]),
        "best_epoch_levels_min": float(best["levels_min"]),
        "final_test_accuracy": float(last["test_accuracy"]),
        "final_train_accuracy": float(last["train_accuracy"]),
    }


def log_levels(dataset: str, first: int, last: int) -> dict[str, float]:
    """Levels in use over the epochs ``first`` to ``last``, both included.

    Returns:
        ``minimum`` and ``maximum`` over layers and epochs, ``mean`` over the epochs' means.
    """
    log = authors_log(dataset)
    part = log[log["epoch"].between(first, last)]
    return {
        "minimum": float(part["levels_min"].min()),
        "maximum": float(part["levels_max"].max()),
        "mean": float(part["levels_mean"].mean()),
    }
