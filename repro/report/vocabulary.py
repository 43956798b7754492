"""The words, units and colours of the report: each has its one home here."""

from collections.abc import Iterable, Mapping

PAPER, LOG, OURS, DERIVED, ARITHMETIC, PUBLISHED = (
    "paper", "authors' log", "ours", "ours, derived", "arithmetic", "other projects",
)  # fmt: skip
# Column groups, and the colour in which each source stands wherever it stands.
THEIRS, THEIR_LOG, MEASURED, BY_ARITHMETIC = "Paper", "Authors' log", "Measured here", "By arithmetic"
TONES: Mapping[str, str] = {THEIRS: "paper", THEIR_LOG: "log", MEASURED: "ours", BY_ARITHMETIC: "ink"}

TITLE = "True 4-Bit Quantized Convolutional Neural Network Training on CPU: Achieving Full-Precision Parity"
ARXIV = "2603.13931"

BEST, LAST, VALIDATED = "best_test_accuracy", "final_test_accuracy", "validated_test_accuracy"
RULES: Mapping[str, str] = {BEST: "best epoch", LAST: "last epoch", VALIDATED: "chosen on validation"}

CELLS = "In brackets one standard error of the test set; † one seed; ± 95 % interval over seeds."

DATA_LABELS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits10": "digits10 (handwritten digits, not CIFAR)",
    "digits100": "digits100 (pairs of handwritten digits, not CIFAR)",
}


EXACT = ("MiB", "MB", "ratio", "count", "bits", "MFLOP")  # the same for every seed: an interval would say nothing

# Light and dark of each colour; figures are drawn in the light one, which the page replaces by its variable.
COLORS: Mapping[str, tuple[str, str]] = {
    "ink": ("#1a1c20", "#e6e8ec"),
    "soft": ("#5b616c", "#a6adba"),
    "line": ("#d9dce2", "#383c44"),
    "page": ("#fdfdfe", "#16181c"),
    "band": ("#f4f5f8", "#1f2228"),
    "paper": ("#b4500b", "#f2a35c"),
    "log": ("#737a86", "#9da5b2"),
    "ours": ("#1b5fb4", "#82b6f8"),
    "plain": ("#0d7568", "#56c2b2"),
    "good": ("#1c7540", "#62c98a"),
    "doubt": ("#8d6100", "#e0b650"),
    "bad": ("#ad2d22", "#ff948a"),
    "clash": ("#84389a", "#d79bea"),
}
VERDICT_TONES = {"reproduced": "good", "within noise": "doubt", "not reproduced": "bad", "contradicted": "clash"}


def verdict_tone(verdict: str) -> str:
    """The colour of a verdict; grey for those that say nothing yet."""
    return next((tone for start, tone in VERDICT_TONES.items() if verdict.startswith(start)), "log")


def verdict_kind(verdict: str) -> str:
    """The look of a verdict in bars: three kinds of contradiction and two of silence differ in more than colour."""
    ends = {"log": "log", "arithmetic": "arithmetic", "text": "text", "here": "untestable", "yet": "open"}
    tone = verdict_tone(verdict)
    return ends.get(verdict.rpartition(" ")[2], "") if tone in ("clash", "log") else tone


def tone(group: str) -> str:
    """The colour of a column group; a remark in brackets does not change it."""
    return TONES.get(group.partition(" (")[0], "ink")


def data_label(name: str) -> str:
    """A data set's name for readers; digits are never called CIFAR."""
    return DATA_LABELS.get(name, name)


def counted(count: float, noun: str) -> str:
    """``1 epoch`` or ``9 epochs``."""
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"


def seeds_label(seeds: Iterable[int]) -> str:
    """``seed 0`` or ``seeds 0, 1, 2``."""
    names = list(map(str, seeds))
    return f"seed{'s' if len(names) > 1 else ''} {', '.join(names)}"


def twin(experiment: str) -> str:
    """The experiment that repeats another one with a validation split, where there is such a one."""
    return f"validated_{experiment}"
