"""Learning-rate schedules: factor on the initial rate as a function of completed epochs.

All are stepped once an epoch, as the authors did, so they are closed forms of
the epoch and a resumed run needs no schedule state.
"""

import math
from collections.abc import Callable


def constant(completed_epochs: int) -> float:
    """Factor 1 throughout."""
    return 1.0


def cosine(completed_epochs: float, t_max: float) -> float:
    """0.5 (1 + cos(pi t / T_max)): 0 at t = T_max and, run on, back up the same cosine.

    With T_max = 100 over 150 epochs this is what the authors' logs show and
    what the paper calls warm restarts (evidence, point 1).
    """
    return 0.5 * (1 + math.cos(math.pi * completed_epochs / t_max))


def cosine_restarts(completed_epochs: int, period: float) -> float:
    """Cosine with real warm restarts (Loshchilov and Hutter 2017, T_mult = 1): back to 1 every ``period`` epochs."""
    return cosine(math.fmod(completed_epochs, period), period)


# name -> function(completed epochs, **options); options in repro.config.schema.SCHEDULES
SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
}
