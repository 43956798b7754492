"""Does the shared training core reach the numbers that other projects publish?"""

from typing import Any

import pandas as pd

from repro.analysis.evidence import NOT_RUN, Evidence, scale_order
from repro.paper.published import Anchor, read_anchors

REACHED, MISSED = "reached", "not reached"
COLUMNS = (
    "anchor", "experiment", "scale", "n", "published", "tolerance", "last", "best", "difference", "verdict",
    "source", "protocol", "unknown", "differs",
)  # fmt: skip


def compare_published(evidence: Evidence) -> pd.DataFrame:
    """Each published number beside the runs of its experiment.

    Sources rarely say whether they quote the best or the last epoch, and the best is chosen on the test set: the
    verdict is on the last one, and the best stands beside it. It asks one side only; a higher accuracy reaches too.

    Args:
        evidence: The records.

    Returns:
        Columns ``COLUMNS``: a row for each anchor and scale with a record of its experiment, or one with verdict
        ``not run`` and no scale. Accuracies are fractions, ``last`` and ``best`` means over ``n`` seeds; ``difference``
        is ``last`` less the published number.
    """
    rows = [row for anchor in read_anchors() for row in _rows(anchor, evidence)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(anchor: Anchor, evidence: Evidence) -> list[dict[str, Any]]:
    about: dict[str, Any] = {**vars(anchor), "anchor": anchor.name, "published": anchor.accuracy}
    rows = []
    for scale in scale_order(evidence.config) if anchor.experiment else ():
        runs = evidence.select(scale, str(anchor.experiment))
        if not runs.empty:
            last, best = runs["final_test_accuracy"].mean(skipna=False), runs["best_test_accuracy"].mean(skipna=False)
            verdict = REACHED if last >= anchor.accuracy - anchor.tolerance else MISSED
            figures = {"n": len(runs), "last": last, "best": best, "difference": last - anchor.accuracy}
            rows.append({**about, "scale": scale, **figures, "verdict": verdict})
    return rows or [{**about, "scale": "", "n": 0, "verdict": NOT_RUN}]
