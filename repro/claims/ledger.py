"""Read and check the ledger's data files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from repro.claims.arithmetic import ARITHMETIC, argument_names
from repro.claims.claim import KINDS, Call, Claim
from repro.claims.combine import COMBINE
from repro.claims.queries import QUERIES
from repro.claims.rules import RULES
from repro.config.options import Option, Problems, Section, check
from repro.config.read import read_own_yaml
from repro.errors import ReproError
from repro.paper import Printed, parse_printed, read_logs
from repro.units import UNITS

FOLDER = Path(__file__).parent / "data"
TOLERANCES, HEADLINES = "tolerances.yaml", "headlines.yaml"
FILES = ("front.yaml", "method.yaml", "results_cifar10.yaml", "results_cifar100.yaml", "results_rest.yaml",
         "discussion.yaml")  # fmt: skip
TOLERANT = ("value", "every_seed", "parity", "possible")  # rules that compare with a value, not a bound
CALLS = ("query", "arithmetic", "beside")


class ClaimsError(ReproError):
    """The ledger's data is wrong; the message lists every problem."""


@dataclass(frozen=True)
class Tolerance:
    """A named tolerance, in the unit of the claims that use it, and why."""

    value: float
    because: str
    single: bool = False


@cache
def load_claims() -> tuple[Claim, ...]:
    """Every claim of the package's data files, in the order of the paper.

    Raises:
        ClaimsError: With every problem at once.
    """
    tolerances = read_own_yaml(FOLDER / TOLERANCES)
    contents = {name: read_own_yaml(FOLDER / name) for name in FILES}
    return parse_claims(contents, tolerances)


def parse_claims(contents: Mapping[str, Any], tolerances: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Claims from the content of data files.

    Args:
        contents: By file name: headings of the paper, each with its list of claims.
        tolerances: Named tolerances: ``{value: .., because: .., single: ..}``; see ``Claim``.

    Raises:
        ClaimsError: With every problem at once, each with its file and claim.
    """
    problems = Problems()
    named = {name: Tolerance(**{**entry, "value": float(entry["value"])}) for name, entry in tolerances.items()}
    schema = _schema(named)
    claims, seen = [], set()
    for file, sections in contents.items():
        for section, entries in sections.items():
            for index, raw in enumerate(entries, 1):
                where = f"{file}: {raw.get('id', f'{section}, number {index}')}"
                before = len(problems.lines)
                checked = check(schema, raw, where, problems)
                if raw.get("id") in seen:
                    problems.add(where, "a second claim of this id")
                seen.add(raw.get("id"))
                if len(problems.lines) == before:
                    for problem in (*_contradictory_keys(raw), *_call_problems(raw)):
                        problems.add(where, problem)
                if len(problems.lines) == before:
                    claims.append(_claim(checked, section, named))
    if problems.lines:
        raise ClaimsError("\n".join(["the ledger of claims is wrong:", *(f"  {line}" for line in problems.lines)]))
    return tuple(claims)


def _schema(tolerances: Mapping[str, Tolerance]) -> Section:
    """The keys of a claim, in the terms of the configuration's schema."""
    text = Option(str, default="")
    registries = {"unit": UNITS, "rule": RULES, "tolerance": tolerances, "log": read_logs(), "log_minus": read_logs()}
    return Section(
        {
            **dict.fromkeys(("id", "place", "statement"), Option(str)),
            "kind": Option(str, choices=KINDS),
            "value": Option(str, nullable=True, default=None),
            "combine": Option(str, choices=COMBINE, default="closest"),
            **{key: Option(str, choices=known, default="") for key, known in registries.items()},
            **dict.fromkeys(("fact", "device", "against", "untestable", "note"), text),
            **dict.fromkeys(("experiments", "minus"), Option(str, length=-1, default=())),
            "own": Option(bool, default=False),
            "less": Option(str, length=2, default=()),
            **dict.fromkeys(CALLS, Option(dict, nullable=True, default=None)),
        }
    )


def _claim(checked: Mapping[str, Any], section: str, tolerances: Mapping[str, Tolerance]) -> Claim:
    values = dict(checked)
    tolerance = tolerances.get(values.pop("tolerance"), Tolerance(0.0, ""))
    for name in CALLS:
        if values[name] is not None:
            arguments = dict(values[name])
            values[name] = Call(arguments.pop("name"), arguments)
    for name in ("experiments", "minus", "less"):
        values[name] = tuple(values[name])
    value: Printed | None = None if values["value"] is None else parse_printed(values["value"])
    values |= {"value": value, "fact": values["fact"] or values["id"]}
    return Claim(
        section=section, tolerance=tolerance.value, because=tolerance.because, single=tolerance.single, **values
    )


def _contradictory_keys(raw: Mapping[str, Any]) -> list[str]:
    found = []
    if "untestable" in raw and ("rule" in raw or "against" in raw):
        found.append("is either untestable or has a rule or words against it")
    if not any(key in raw for key in ("rule", "against", "untestable")):
        found.append("needs a rule, other words of the paper against it, or the reason why it is untestable")
    if "rule" in raw and not ("value" in raw and "unit" in raw):
        found.append("a rule needs a value and its unit")
    if "rule" in raw and not ("query" in raw or "arithmetic" in raw):
        found.append("a rule needs a query or arithmetic")
    if ("query" in raw) != ("log" in raw or "experiments" in raw):
        found.append("a query goes with a log or experiments, and they with a query")
    if raw.get("rule") in TOLERANT and "experiments" in raw and "tolerance" not in raw:
        found.append("a measured value needs a tolerance")
    return found


def _call_problems(raw: Mapping[str, Any]) -> list[str]:
    found = []
    for key in CALLS:
        registry, skip = (QUERIES, 1) if key == "query" else (ARITHMETIC, 0)
        if key not in raw:
            continue
        given = dict(raw[key])
        name = given.pop("name", None)
        if name not in registry:
            found.append(f"unknown {key} {name!r} (known: {', '.join(registry)})")
            continue
        allowed, needed = argument_names(registry[name], skip)
        found += [f"{key} {name}: unknown argument {extra!r}" for extra in given.keys() - allowed]
        found += [f"{key} {name}: lacks {absent!r}" for absent in sorted(needed - given.keys())]
    return found
