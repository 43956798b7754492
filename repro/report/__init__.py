"""Tables, figures and the page, from records alone. Imports neither torch nor mlflow."""

from repro.report.page import build_report
from repro.report.registry import FIGURES, TABLES

__all__ = ["FIGURES", "TABLES", "build_report"]
