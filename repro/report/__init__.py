"""Tables, figures and the page, from records alone. Imports neither torch nor mlflow."""

from repro.report.page.build import build_report

__all__ = ["build_report"]
