"""From run records to data frames and statistics. Imports neither torch nor mlflow."""

from repro.analysis.architecture import Architecture
from repro.analysis.equivalence import Equivalence, equivalence
from repro.analysis.evidence import Evidence, after_training, deciding_scales, in_bf16, load_evidence, scale_order
from repro.analysis.levels import LevelRange, level_range, map_epochs
from repro.analysis.openings import Openings
from repro.analysis.published import judge_published
from repro.analysis.spread import ALPHA, Spread
from repro.analysis.stats import Estimate, estimate, holm, paired_difference, paired_p_value

__all__ = [
    "ALPHA",
    "Architecture",
    "Equivalence",
    "Estimate",
    "Evidence",
    "LevelRange",
    "Openings",
    "Spread",
    "after_training",
    "deciding_scales",
    "equivalence",
    "estimate",
    "holm",
    "in_bf16",
    "judge_published",
    "level_range",
    "load_evidence",
    "map_epochs",
    "paired_difference",
    "paired_p_value",
    "scale_order",
]
