"""Identities are fixed: a changed hash would orphan every record made so far, and train it again."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from repro.config import CORE_VERSION, Config, Plan, hash_spec
from repro.config.options import Problems, check
from repro.config.schema import SPEC
from repro.records import Record, find_records, read_record
from tests.conftest import PROJECT

SCALE = "paper_bf16"
KNOWN: dict[str, str] = yaml.safe_load(Path(__file__).with_name("identities.yaml").read_text())
RECORDS = find_records(PROJECT / "results")


def test_the_core_keeps_its_version() -> None:
    assert CORE_VERSION == 1


def test_every_known_experiment_keeps_its_hash(config: Config) -> None:
    """A new option needs a default that says what was done before it; a new experiment needs no line here."""
    plan = Plan(config, SCALE)
    assert {name: plan.run(name, 0).spec_hash for name in KNOWN} == KNOWN


def test_every_known_experiment_keeps_its_folder(config: Config) -> None:
    """The first experiment with a hash owns the run and names its folder: no other may come before it."""
    plan = Plan(config, SCALE)
    owners: dict[str, str] = {}
    for name, spec_hash in KNOWN.items():
        owners.setdefault(spec_hash, name)
    assert {name: plan.run(name, 0).experiment for name in KNOWN} == {n: owners[h] for n, h in KNOWN.items()}


def hash_today(record: Record) -> str:
    """The hash of a record's spec; an option that is younger than the record takes its default."""
    problems = Problems()
    spec: dict[str, Any] = check(SPEC, record.spec, "spec", problems)
    assert not problems.lines
    return hash_spec(spec)


@pytest.mark.parametrize("path", RECORDS, ids=[path.parent.relative_to(PROJECT).as_posix() for path in RECORDS])
def test_every_record_is_what_its_folder_says(path: Path) -> None:
    record = read_record(path)
    assert path.parent.name == f"seed{record.seed}-{record.spec_hash}"
    assert path.parent.parent.parent.name == record.scale
    assert hash_today(record) == record.spec_hash


def test_there_are_records_to_hold() -> None:
    """All that are committed, and whatever else was trained in this checkout."""
    assert len([path for path in RECORDS if "paper" in path.parts or "short" in path.parts]) >= 18
