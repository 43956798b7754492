"""What a record's fields may hold: a file from elsewhere may say anything, and everything reads records."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from repro.text import shown

MOST_WHOLE = 2**53  # whole numbers beyond are no longer told apart in floating point
MOST_NUMBER = 1e39  # a diverging run's loss may come near the largest FP32 number, and none beyond it
MOST_CHARACTERS = 10_000
COMPLETED, DIVERGED = "completed", "diverged"

Test = Callable[[Any], bool]


class FieldError(ValueError):
    """A field is missing or holds what it cannot; the message names it."""


def whole(least: int) -> Test:
    """Whole numbers from ``least`` on."""
    return lambda value: type(value) is int and least <= value <= MOST_WHOLE


def number(least: float = -MOST_NUMBER, most: float = MOST_NUMBER) -> Test:
    """Finite numbers of a range."""
    return lambda value: type(value) in (int, float) and least <= value <= most


def text(value: Any) -> bool:
    """A text that a terminal and a page may be given: without control characters."""
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
        return False
    return value.isprintable() or not any(map(_controls, value))  # the first is fast, and stricter: of spaces too


def _controls(character: str) -> bool:
    return unicodedata.category(character).startswith("C")


def odd_text(value: Any) -> str | None:
    """The first text in JSON, keys included, that is none for a terminal or a page."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) and not text(one):
            return one
        waiting += [*one, *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else []
    return None


def name(value: Any) -> bool:
    """A text of letters, digits and a few signs, which mean nothing to Markdown either."""
    return isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,60}", value) is not None


def flag(value: Any) -> bool:
    """True or false."""
    return isinstance(value, bool)


def moment(value: Any) -> bool:
    """A time in ISO 8601, between the years 1970 and 9999."""
    try:
        return datetime.fromisoformat(value).timestamp() >= 0
    except (TypeError, ValueError, OverflowError, OSError):
        return False


def optional(test: Test) -> Test:
    """``null`` too."""
    return lambda value: value is None or test(value)


def many(test: Test) -> Test:
    """A list."""
    return lambda value: isinstance(value, list) and all(map(test, value))


def _histogram(value: Any) -> bool:
    if not isinstance(value, dict) or not {"edges", "counts"} <= value.keys():
        return False
    return many(number())(value["edges"]) and many(whole(0))(value["counts"])


def _shared(value: Any) -> bool:
    return isinstance(value, dict) and text(value.get("from")) and number(0)(value.get("wall_seconds"))


SHARE, SIZE = number(0, 1), whole(1)
TOP: Mapping[str, Test] = {
    "experiment": text, "group": text, "scale": text, "seed": whole(0), "spec_hash": text, "core_version": whole(0),
    "status": lambda value: value in (COMPLETED, DIVERGED), "reason": text,
}  # fmt: skip
LAYER: Mapping[str, Test] = {
    "name": text, "max_abs_weight": optional(number(0)), "histogram": _histogram,
}  # fmt: skip
# What fields may hold where they are there; who needs one that is not says so.
FIELDS: Mapping[str, Mapping[str, Test]] = {
    "summary": {
        "epochs_run": whole(0), "parameters": SIZE, "quantized_weights": whole(0),
        "final_train_loss": optional(number()), "final_train_accuracy": optional(SHARE),
        "final_test_loss": optional(number()), "final_test_accuracy": SHARE,
        "best_test_accuracy": SHARE, "best_test_epoch": SIZE,
        "validated_test_accuracy": optional(SHARE), "validated_epoch": optional(SIZE),
        "zero_rate_epoch": optional(SIZE), "source_run": text, "source_test_accuracy": SHARE,
    },
    "data": {
        "name": name, "fingerprint": text, "classes": SIZE, "image_shape": many(SIZE), "train_images": SIZE,
        "validation_images": whole(0), "test_images": SIZE,
    },
    "size": {"fp32_bytes": SIZE, "paper_bytes": SIZE, "packed_bytes": SIZE},
    "compute": {"forward_flops_per_image": number(0), "step_flops_per_image": number(0)},
    "timing": {
        "started_at": moment, "ended_at": moment, "wall_seconds": number(0),
        "train_images_per_second": optional(number(0)),
    },
    "environment": {
        "device": text, "device_name": optional(text), "processor": optional(text), "architecture": optional(text),
        "git_commit": optional(text), "git_dirty": optional(flag), "torch_threads": optional(SIZE),
        "trained_on": many(text), "shared": optional(_shared),
    },
}  # fmt: skip
# Those that commands besides the report rely on.
REQUIRED = {"summary": ("epochs_run", "final_test_accuracy")}


def check_record(raw: Mapping[str, Any]) -> None:
    """Hold the fields of a record but its spec against what they may hold.

    Raises:
        FieldError: For the first that is missing or wrong.
    """
    _check("", raw, TOP, tuple(TOP))
    for section, tests in FIELDS.items():
        value = raw[section]
        if not isinstance(value, dict):
            raise FieldError(f"{section} is not a mapping")
        _check(f"{section}.", value, tests, REQUIRED.get(section, ()))
    layers = raw.get("layers", [])  # a file with weights keeps the record without them
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise FieldError("layers is not a list of mappings")
    for place, layer in enumerate(layers):
        _check(f"layers[{place}].", layer, LAYER, ())


def _check(path: str, value: Mapping[str, Any], tests: Mapping[str, Test], required: Sequence[str]) -> None:
    for field in required:
        if field not in value:
            raise FieldError(f"lacks {path}{field}")
    for field, test in tests.items():
        if field in value and not test(value[field]):
            raise FieldError(f"its {path}{field} cannot be {shown(value[field])}")
