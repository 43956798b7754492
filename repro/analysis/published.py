"""Does the shared training core reach the numbers that other projects publish?"""

import pandas as pd

from repro.analysis.evidence import NOT_RUN
from repro.paper.published import Anchor

REACHED, MISSED = "reached", "not reached"


def judge_published(anchor: Anchor, runs: pd.DataFrame) -> str:
    """Whether the runs of one scale reach a published number: ``REACHED``, ``MISSED`` or ``NOT_RUN``.

    Sources rarely say whether they quote the best or the last epoch, and the best is chosen on the test set: the
    mean over seeds of the last one decides. It asks one side only; a higher accuracy reaches too, and a run that lost
    its numbers reaches nothing.

    Args:
        anchor: The number with its tolerance.
        runs: Rows of ``Evidence.select``, a seed each.
    """
    if runs.empty:
        return NOT_RUN
    last = runs["final_test_accuracy"].mean(skipna=False)
    return REACHED if last >= anchor.accuracy - anchor.tolerance else MISSED
