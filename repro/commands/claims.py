"""Every checkable claim of the paper with its computed verdict."""

import argparse
import json

from repro.commands.options import add_config, add_results
from repro.config import load_config
from repro.errors import ReproError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the records are, and which claims."""
    add_config(parser)
    add_results(parser)
    parser.add_argument("--verdict", help="only claims whose verdict begins so, such as: reproduced, contradicted")
    parser.add_argument("--json", action="store_true", help="a JSON list of objects, a claim each")


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    from repro.analysis import load_evidence
    from repro.claims import VERDICTS, format_claims, judge_claims

    wanted = arguments.verdict or ""
    if not any(verdict.startswith(wanted) for verdict in VERDICTS):
        raise ReproError(f"there is no verdict {wanted!r}; there are: {', '.join(VERDICTS)}")
    claims = judge_claims(load_evidence(load_config(arguments.config), arguments.results))
    claims = claims[claims["verdict"].str.startswith(wanted)]
    print(json.dumps(claims.to_dict("records"), indent=1) if arguments.json else format_claims(claims))
    return 0
