"""Bring all records into MLflow; can be repeated."""

import argparse
import sys
from pathlib import Path

from repro.commands.options import add_results
from repro.text import harmless


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where MLflow is."""
    add_results(parser)
    parser.add_argument("--uri", help="MLflow address (default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db)")
    parser.add_argument("--stamp", type=Path, help="file to write afterwards (used by the workflow)")


def run(arguments: argparse.Namespace) -> int:
    """Bring them there and say what changed."""
    from repro.tracking import TrackingError, sync_records

    try:
        result = sync_records(arguments.results, arguments.uri)
        outcome = f"{result.added} added, {result.updated} updated, {result.unchanged} unchanged"
        for reason in result.skipped:
            print(f"skipped: {harmless(reason)}", file=sys.stderr)
    except TrackingError as error:
        if arguments.stamp is None:
            raise
        # the workflow's results stand without MLflow; a later sync brings everything
        print(f"warning: {error}\n`python -m repro track` will catch up", file=sys.stderr)
        outcome = f"not synced: {error}"
    print(f"MLflow: {outcome}")
    if arguments.stamp is not None:
        from repro.records import atomic_write

        atomic_write(arguments.stamp, outcome + "\n")
    return 0
