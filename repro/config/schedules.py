"""Learning-rate schedules: factor on the initial rate as a function of completed epochs.

All are stepped once an epoch, as the authors did, so they are closed forms of
the epoch and a resumed run needs no schedule state. They stand here, without
torch, since a plan asks them too: where a rate is zero, and where runs part.
"""

import math
from collections.abc import Sequence

from repro.config.registry import SCHEDULES
from repro.config.spec import Spec, split_options

ZERO = 1e-12  # of a factor: T_max may be off a whole number by the rounding of its scale
ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 25e4  # of the highest rate


def constant(completed_epochs: int) -> float:
    """Factor 1 throughout."""
    return 1.0


def cosine(completed_epochs: float, t_max: float) -> float:
    """0.5 (1 + cos(pi t / T_max)): 0 at t = T_max and, run on, back up the same cosine.

    With T_max = 100 over 150 epochs this is what the authors' logs show and
    what the paper calls warm restarts (``repro/paper/authors_log_*.csv``).
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


def multi_step(completed_epochs: int, milestones: Sequence[float], factor: float) -> float:
    """``factor`` once more after each of ``milestones``, in completed epochs (He et al. 2016, section 4.2)."""
    return float(factor ** sum(completed_epochs >= milestone - ZERO for milestone in milestones))


def linear(completed_epochs: float, t_max: float) -> float:
    """1 - t / T_max, and 0 from T_max on: it never rises."""
    return max(0.0, 1 - completed_epochs / t_max)


def one_cycle(completed_epochs: float, t_max: float, rise: float) -> float:
    """One cycle (Smith and Topin 2018) in torch's form, ``OneCycleLR``: up along a cosine, then down along another.

    From 1/25 to 1 over the share ``rise`` of ``t_max`` epochs, then to 1/250,000. Not modelled: the momentum that
    runs the other way. Stepped once an epoch, as all schedules here, where the authors step at every batch.
    """
    peak = rise * t_max
    if completed_epochs < peak:
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * (1 - cosine(completed_epochs, peak))
    return ONE_CYCLE_END + (1 - ONE_CYCLE_END) * cosine(min(completed_epochs, t_max) - peak, t_max - peak)


def rate_factors(spec: Spec) -> list[float]:
    """Factor on the initial rate in each epoch of a run, to the bit as it is trained."""
    name, options = split_options(spec["schedule"])
    return [SCHEDULES[name](epoch, **options) for epoch in range(spec["epochs"])]


def zero_rate_epoch(spec: Spec) -> int | None:
    """Completed epochs after which a run's rate is zero for the first time and the run still goes on.

    The weights there are those that the schedule has brought to rest, 100 of the paper's 150 epochs. They are taken
    before the epoch that trains at rate zero: in it the optimiser moves nothing, but the soft clip still pulls at the
    weights, and batch norm's statistics go on. A run that ends there needs none besides its last weights: ``None``.
    """
    return next((epoch for epoch, factor in enumerate(rate_factors(spec)) if factor < ZERO and epoch), None)
