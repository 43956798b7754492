"""Every checkable claim of the paper with its computed verdict."""

import argparse

from repro.commands.options import add_config, add_results
from repro.config import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the records are."""
    add_config(parser)
    add_results(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    from repro.analysis import load_evidence
    from repro.claims import format_claims, judge_claims

    print(format_claims(judge_claims(load_evidence(load_config(arguments.config), arguments.results))))
    return 0
