"""A run's spec: everything that changes one of its numbers, checked, complete and typed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypedDict, cast

from repro.config.options import Problems, check, without_defaults
from repro.config.schema import SPEC
from repro.errors import ReproError

# Part of every run's identity. Raise it when a change to the training core changes a run's numbers.
CORE_VERSION = 1

Chosen = Mapping[str, Any]  # a method: its ``name`` and its options


class DatasetSpec(TypedDict):
    """Which images; ``None`` takes all."""

    name: str
    train_images: int | None
    test_images: int | None
    validation_fraction: float


class Spec(TypedDict):
    """The checked form of ``schema.SPEC``, whose keys these are: every one is there, whatever the record's age."""

    dataset: DatasetSpec
    model: Chosen
    start_from: str | None
    quantizer: Chosen
    activation_quantizer: Chosen
    quantized_layers: str
    optimizer: Chosen
    gradient_clip: float | None
    weight_clip: Chosen
    schedule: Chosen
    epochs: int
    batch_size: int
    precision: str
    ptq: Chosen


def complete_spec(raw: object) -> Spec:
    """A spec as some file holds it, with the defaults of options that are younger than the file.

    Raises:
        ReproError: If it is no spec of this suite; the message names every problem.
    """
    problems = Problems()
    spec = check(SPEC, raw, "spec", problems)
    if problems.lines:
        raise ReproError("; ".join(problems.lines))
    return cast(Spec, spec)


def hash_spec(spec: Spec) -> str:
    """First 8 hexadecimal digits of a hash over the spec's canonical form and the core's version."""
    canonical = {"core_version": CORE_VERSION, **without_defaults(SPEC, spec)}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def split_options(method: Chosen) -> tuple[str, dict[str, Any]]:
    """A chosen method as its name and its options."""
    return method["name"], {key: value for key, value in method.items() if key != "name"}


def quantization(spec: Spec) -> Chosen:
    """The method that quantised the weights, in training or (``PTQ NAME``) after it; ``none`` for FP32.

    Without the options that have their defaults, so that a new option leaves its name as it was.
    """
    during, after = (without_defaults(SPEC.fields[kind], spec[kind]) for kind in ("quantizer", "ptq"))
    return during if after["name"] == "none" else {**after, "name": f"PTQ {after['name']}"}
