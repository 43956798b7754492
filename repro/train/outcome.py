"""How a run ended: its status, and the figures that stand for it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from repro.records import COMPLETED, DIVERGED

# At chance: accuracy at most this many times 1 / K, and loss at least this share of ln K.
CHANCE_ACCURACY_FACTOR = 1.5
CHANCE_LOSS_SHARE = 0.98


def judge(epochs: Sequence[Mapping[str, Any]], classes: int) -> tuple[str, str]:
    """Status of a finished run and, where it diverged, the reason: not a number, or at chance."""
    last = epochs[-1]
    for name in ("train_loss", "test_loss"):
        if not math.isfinite(last[name]):
            return DIVERGED, f"{name} is {last[name]} in epoch {last['epoch']}"
    at_chance = last["test_accuracy"] <= CHANCE_ACCURACY_FACTOR / classes and last[
        "train_loss"
    ] >= CHANCE_LOSS_SHARE * math.log(classes)
    if at_chance:
        return DIVERGED, (
            f"at chance: test accuracy {last['test_accuracy']:.4f} with {classes} classes, "
            f"training loss {last['train_loss']:.4f} against ln {classes} = {math.log(classes):.4f}"
        )
    return COMPLETED, ""


def summarize(epochs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The record's ``summary``; among equal accuracies the earliest epoch counts as the best."""
    last, best = epochs[-1], max(epochs, key=lambda row: row["test_accuracy"])
    validated = None
    if last["validation_accuracy"] is not None:
        validated = max(epochs, key=lambda row: row["validation_accuracy"])
    return {
        "epochs_run": len(epochs),
        "final_train_loss": last["train_loss"],
        "final_train_accuracy": last["train_accuracy"],
        "final_test_loss": last["test_loss"],
        "final_test_accuracy": last["test_accuracy"],
        "best_test_accuracy": best["test_accuracy"],
        "best_test_epoch": best["epoch"],
        "validated_test_accuracy": validated and validated["test_accuracy"],
        "validated_epoch": validated and validated["epoch"],
    }
