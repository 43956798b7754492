"""From run records to data frames and statistics. Imports neither torch nor mlflow."""

from repro.analysis.evidence import Evidence, load_evidence, scale_order
from repro.analysis.levels import LevelRange, level_range, map_epochs
from repro.analysis.stats import Estimate, estimate, paired_difference

__all__ = [
    "Estimate",
    "Evidence",
    "LevelRange",
    "estimate",
    "level_range",
    "load_evidence",
    "map_epochs",
    "paired_difference",
    "scale_order",
]
