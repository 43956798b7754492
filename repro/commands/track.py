"""Bring all records into MLflow; can be repeated."""

import argparse
import sys
from pathlib import Path

from repro.commands.options import add_config, add_results
from repro.text import harmless


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where MLflow is."""
    add_config(parser)
    add_results(parser)
    parser.add_argument("--uri", help="MLflow address (default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db)")
    parser.add_argument("--stamp", type=Path, help="file to write afterwards (used by the workflow)")


def run(arguments: argparse.Namespace) -> int:
    """Bring them there, say what changed and where to look."""
    from repro.config import load_config
    from repro.tracking import TrackingError, pages, sync_records
    from repro.tracking.store import resolve_uri

    # records can be mirrored without the configuration that knows their experiments' other names
    config = load_config(arguments.config) if Path(arguments.config).exists() else None
    uri = resolve_uri(arguments.uri)
    try:
        result = sync_records(arguments.results, uri, config)
    except TrackingError as error:
        if arguments.stamp is None:
            raise
        # the workflow's results stand without MLflow; a later sync brings everything
        print(f"warning: {harmless(str(error))}\n`python -m repro track` will catch up", file=sys.stderr)
        lines = [f"not synced: {harmless(str(error))}"]
    else:
        for reason in result.skipped:
            print(f"skipped: {harmless(reason)}", file=sys.stderr)
        outcome = f"{result.added} added, {result.updated} updated, {result.unchanged} unchanged"
        stopped = f", {result.stopped} no longer running" if result.stopped else ""
        lines = [outcome + stopped, *pages(uri, result.experiments)]
    print("MLflow: " + "\n".join(lines))
    if arguments.stamp is not None:
        from repro.records import atomic_write

        atomic_write(arguments.stamp, "\n".join(lines) + "\n")
    return 0
