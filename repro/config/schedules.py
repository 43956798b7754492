"""Learning-rate schedules: factor on the initial rate as a function of completed epochs.

All are stepped once an epoch, as the authors did, so they are closed forms of
the epoch and a resumed run needs no schedule state. They stand here, without
torch, since a plan asks them too: where a rate is zero, and where runs part.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

ZERO = 1e-12  # of a factor: T_max may be off a whole number by the rounding of its scale


def constant(completed_epochs: int) -> float:
    """Factor 1 throughout."""
    return 1.0


def cosine(completed_epochs: float, t_max: float) -> float:
    """0.5 (1 + cos(pi t / T_max)): 0 at t = T_max and, run on, back up the same cosine.

    With T_max = 100 over 150 epochs this is what the authors' logs show and
    what the paper calls warm restarts (evidence, point 1).
    """
    return 0.5 * (1 + math.cos(math.pi * completed_epochs / t_max))


def cosine_restarts(completed_epochs: float, period: float, multiplier: float = 1.0) -> float:
    """Cosine with real warm restarts (Loshchilov and Hutter 2017): back to 1 after ``period`` epochs, and again.

    Each cycle is ``multiplier`` times as long as the one before it, their T_mult.
    """
    if multiplier == 1:
        return cosine(math.fmod(completed_epochs, period), period)
    start = 0.0
    while completed_epochs >= start + period - ZERO:  # the start of a cycle may be off a whole number
        start, period = start + period, period * multiplier
    return cosine(max(completed_epochs - start, 0.0), period)


# name -> function(completed epochs, **options); options in repro.config.schema.SCHEDULES
SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
}


def rate_factors(spec: Mapping[str, Any]) -> list[float]:
    """Factor on the initial rate in each epoch of a run, to the bit as it is trained."""
    options = {key: value for key, value in spec["schedule"].items() if key != "name"}
    return [SCHEDULES[spec["schedule"]["name"]](epoch, **options) for epoch in range(spec["epochs"])]


def zero_rate_epoch(spec: Mapping[str, Any]) -> int | None:
    """Completed epochs after which a run's rate is zero for the first time and the run still goes on.

    The weights there are those that the schedule has brought to rest, 100 of the paper's 150 epochs. They are taken
    before the epoch that trains at rate zero: in it the optimiser moves nothing, but the soft clip still pulls at the
    weights, and batch norm's statistics go on. A run that ends there needs none besides its last weights: ``None``.
    """
    return next((epoch for epoch, factor in enumerate(rate_factors(spec)) if factor < ZERO and epoch), None)
