"""The data files: their schema, and that every name in them exists."""

import copy
import re
import subprocess
import sys

import pytest
import yaml
from report_factory import CONFIG

from repro.claims import VERDICTS, ClaimsError, load_claims
from repro.claims.ledger import FILES, FOLDER, HEADLINES, TOLERANCES, parse_claims
from repro.config import load_config
from repro.paper import read_numbers, read_table

GOOD = {
    "id": "one", "place": "Table I", "statement": "something", "kind": "number", "value": "92.34", "unit": "%",
    "tolerance": "accuracy", "rule": "value", "query": {"name": "best_test_accuracy"}, "log": "cifar10",
    "experiments": ["main_cifar10"],
}  # fmt: skip
TABLES = [f"table{number}" for number in range(1, 8)]
NAMED = {"accuracy": {"value": 0.5, "because": "a test"}}


def parse(*claims):
    return parse_claims({"file.yaml": {"Abstract": list(claims)}}, NAMED)


def changed(**changes):
    return {key: value for key, value in {**copy.deepcopy(GOOD), **changes}.items() if value is not None}


def test_the_ledger_is_large_unique_and_complete():
    claims = load_claims()
    assert len(claims) >= 100
    assert len({claim.id for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.place, claim.id
        assert claim.statement, claim.id
        assert claim.section, claim.id
        assert bool(claim.rule or claim.against) != bool(claim.untestable), claim.id
        assert claim.fact, claim.id
        assert not claim.tolerance or claim.because, claim.id


def test_every_data_file_is_read():
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*FILES, TOLERANCES, HEADLINES}


def test_no_verdict_is_typed_in():
    for name in FILES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        keys = [line.strip(" -").split(":")[0] for line in text.splitlines() if ":" in line]
        assert "verdict" not in keys
        values = [str(value) for entries in yaml.safe_load(text).values() for raw in entries for value in raw.values()]
        assert not set(VERDICTS) & set(values)


def test_arithmetic_starts_from_what_the_paper_prints():
    """Numbers of its tables and text, each with its place in values.yaml: no reading of ours, no answer typed in."""
    printed = {text for name in TABLES for text in printed_texts(read_table(name))} | set(read_numbers())
    labels = {row["label"] for row in read_table("table7")["rows"]}
    for claim in load_claims():
        for call in filter(None, (claim.arithmetic, claim.beside)):
            for argument in call.arguments.values():
                for figure in argument if isinstance(argument, list) else [argument]:
                    assert str(figure) in printed | labels, (claim.id, figure)


def printed_texts(node):
    """Every value as printed, below the keys ``values`` of a table."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from value.values() if key == "values" else printed_texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from printed_texts(value)


def test_what_the_paper_says_against_itself_names_the_place():
    """A reading has a verdict of its own, never that of arithmetic, and says where the other words stand."""
    read = [claim for claim in load_claims() if claim.against]
    assert {"cpu_both_data_sets", "bitnet_bits"} <= {claim.id for claim in read}
    for claim in read:
        assert not claim.arithmetic, claim.id
        assert re.search(r"section [IV]+|table [IV]+|equation \d|figure \d|reference \[\d", claim.against), claim.id


def test_every_experiment_exists_or_is_one_that_the_tables_of_the_paper_ask_for():
    known = set(load_config(CONFIG).experiments)
    planned = {
        name for table in ("table2", "table7") for row in read_table(table)["rows"] for name in row["experiments"]
    }
    for claim in load_claims():
        assert {*claim.experiments, *claim.minus} <= known | planned, claim.id


def test_a_good_claim_is_read():
    (claim,) = parse(GOOD)
    assert (claim.section, claim.printed.low, claim.tolerance, claim.because) == ("Abstract", 92.34, 0.5, "a test")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (changed(verdict="reproduced"), "unknown key 'verdict'"),
        (changed(place=None), "one.place: missing"),
        (changed(value=92.34), "one.value: 92.34 is not allowed; expected a text"),
        (changed(rule="guess"), "one.rule: unknown value 'guess'"),
        (changed(unit="furlongs"), "one.unit: unknown value"),
        (changed(kind="opinion"), "one.kind: unknown value"),
        (changed(tolerance="lax"), "one.tolerance: unknown value"),
        (changed(log="cifar1000"), "one.log: unknown value 'cifar1000'; did you mean"),
        (changed(combine="best"), "one.combine: unknown value"),
        (changed(query={"name": "accuracy"}), "unknown query 'accuracy'"),
        (changed(query={"name": "test_accuracy_at"}), "query test_accuracy_at: lacks 'epoch'"),
        (changed(query={"name": "best_test_accuracy", "epoch": 1}), "unknown argument 'epoch'"),
        (changed(arithmetic={"name": "alchemy"}), "unknown arithmetic 'alchemy'"),
        (changed(untestable="why not"), "is either untestable or has a rule"),
        (changed(rule=None), "needs a rule, other words of the paper against it, or the reason"),
        (changed(less=["fp32_cifar10"]), "expected a list of 2"),
        (changed(beside={"name": "alchemy"}), "unknown beside 'alchemy'"),
        (changed(value=None), "a rule needs a value"),
        (changed(query=None), "a query goes with a log or experiments"),
        (changed(tolerance=None), "needs a tolerance"),
    ],
)
def test_a_wrong_claim_is_refused_with_its_place(raw, message):
    with pytest.raises(ClaimsError, match=r"file\.yaml: one") as error:
        parse(raw)
    assert message in str(error.value)


def test_all_problems_are_listed_at_once():
    with pytest.raises(ClaimsError) as error:
        parse(changed(rule="guess"), changed(id="two", unit="furlongs"), GOOD, GOOD)
    assert [name in str(error.value) for name in ("guess", "furlongs", "a second claim of this id")] == [True] * 3


def test_importing_the_ledger_loads_neither_torch_nor_mlflow():
    code = "import sys, repro.claims; print([name for name in ('torch', 'mlflow') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
