"""Read and check the ledger's data files."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from repro.claims.arithmetic import ARITHMETIC, argument_names
from repro.claims.claim import KINDS, Call, Claim
from repro.claims.combine import COMBINE
from repro.claims.queries import QUERIES
from repro.claims.rules import RULES
from repro.errors import ReproError
from repro.paper import Printed, parse_printed, read_logs
from repro.units import UNITS

FOLDER = Path(__file__).parent / "data"
TOLERANCES, HEADLINES = "tolerances.yaml", "headlines.yaml"
FILES = ("front.yaml", "method.yaml", "results_cifar10.yaml", "results_cifar100.yaml", "results_rest.yaml",
         "discussion.yaml")  # fmt: skip
NAMES = tuple(f.name for f in fields(Claim) if f.name not in ("section", "because"))
TEXTS = (
    "id", "fact", "place", "statement", "kind", "unit", "rule", "log", "log_minus", "combine", "device", "against",
    "untestable", "note",
)  # fmt: skip
TOLERANT = ("value", "every_seed", "parity", "possible", "time")  # rules that compare with a value, not a bound
CALLS = ("query", "arithmetic", "beside")


class ClaimsError(ReproError):
    """The ledger's data is wrong; the message lists every problem."""


@dataclass(frozen=True)
class Tolerance:
    """A named tolerance, in the unit of the claims that use it, and why."""

    value: float
    because: str


@cache
def load_claims() -> tuple[Claim, ...]:
    """Every claim of the package's data files, in the order of the paper.

    Raises:
        ClaimsError: With every problem at once.
    """
    tolerances = yaml.safe_load((FOLDER / TOLERANCES).read_text(encoding="utf-8"))
    contents = {name: yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in FILES}
    return parse_claims(contents, tolerances)


def parse_claims(contents: Mapping[str, Any], tolerances: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Claims from the content of data files.

    Args:
        contents: By file name: headings of the paper, each with its list of claims.
        tolerances: Named tolerances: ``{value: .., because: ..}``.

    Raises:
        ClaimsError: With every problem at once, each with its file and claim.
    """
    problems: list[str] = []
    named = {name: Tolerance(float(entry["value"]), entry["because"]) for name, entry in tolerances.items()}
    claims, seen = [], set()
    for file, sections in contents.items():
        for section, entries in sections.items():
            for index, raw in enumerate(entries, 1):
                where = f"{file}: {raw.get('id', f'{section}, number {index}')}"
                found = [f"{where}: {problem}" for problem in _problems(raw, named)]
                if raw.get("id") in seen:
                    found.append(f"{where}: a second claim of this id")
                seen.add(raw.get("id"))
                problems += found
                if not found:
                    claims.append(_claim(raw, section, named))
    if problems:
        raise ClaimsError("\n".join(["the ledger of claims is wrong:", *(f"  {line}" for line in problems)]))
    return tuple(claims)


def _claim(raw: Mapping[str, Any], section: str, tolerances: Mapping[str, Tolerance]) -> Claim:
    values = dict(raw)
    tolerance = tolerances.get(values.pop("tolerance", ""), Tolerance(0.0, ""))
    for name in CALLS:
        if name in values:
            arguments = dict(values[name])
            values[name] = Call(arguments.pop("name"), arguments)
    for name in ("experiments", "minus", "less"):
        values[name] = tuple(values.get(name, ()))
    value: Printed | None = parse_printed(values.pop("value")) if "value" in values else None
    values.setdefault("fact", values["id"])
    return Claim(section=section, value=value, tolerance=tolerance.value, because=tolerance.because, **values)


def _problems(raw: Mapping[str, Any], tolerances: Mapping[str, Tolerance]) -> list[str]:
    unknown = [f"unknown key {key!r} (allowed: {', '.join(NAMES)})" for key in raw if key not in NAMES]
    missing = [f"lacks {key!r}" for key in ("id", "place", "statement", "kind") if not raw.get(key)]
    wrong = [f"{key} is no text" for key in (*TEXTS, "value") if key in raw and not isinstance(raw[key], str)]
    if unknown or missing or wrong:
        return unknown + missing + wrong
    return [*_unknown_names(raw, tolerances), *_contradictory_keys(raw), *_call_problems(raw)]


def _unknown_names(raw: Mapping[str, Any], tolerances: Mapping[str, Tolerance]) -> list[str]:
    registries = {"kind": KINDS, "unit": UNITS, "rule": RULES, "combine": COMBINE, "tolerance": tolerances,
                  "log": read_logs(), "log_minus": read_logs()}  # fmt: skip
    return [
        f"unknown {key} {raw[key]!r} (known: {', '.join(known)})"
        for key, known in registries.items()
        if key in raw and raw[key] not in known
    ]


def _contradictory_keys(raw: Mapping[str, Any]) -> list[str]:
    found = []
    if "untestable" in raw and ("rule" in raw or "against" in raw):
        found.append("is either untestable or has a rule or words against it")
    if not any(key in raw for key in ("rule", "against", "untestable")):
        found.append("needs a rule, other words of the paper against it, or the reason why it is untestable")
    if len(raw.get("less", ())) not in (0, 2):
        found.append("less names two experiments")
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
