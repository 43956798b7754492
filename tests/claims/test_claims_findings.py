"""What the first page and the README say, from made-up records."""

import re

import pytest

from repro.analysis import load_evidence
from repro.claims import VERDICTS, judge_claims, load_claims, verdict_counts
from repro.claims.findings import count, headlines, judge_all, length_warning, readme_findings
from repro.claims.rules import AGAINST_LOG, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, WITHIN_NOISE


@pytest.fixture
def evidence(factory):
    return lambda: load_evidence(factory.config, factory.results)


def write(factory, experiment, *best, scale="paper"):
    for seed, accuracy in enumerate(best):
        factory.write(experiment, scale, seed, accuracy)


def test_counts_agree_with_the_ledger(factory, evidence):
    write(factory, "main_cifar10", 0.922, 0.923, 0.924)
    write(factory, "fp32_cifar10", 0.922, 0.923, 0.924)
    counts, frame = count(judge_all(evidence())), judge_claims(evidence())
    assert dict(counts.claims) == verdict_counts(frame)
    assert counts.total == len(frame) == sum(counts.claims.values())
    assert counts.total_facts == frame["fact"].nunique() < counts.total
    assert tuple(counts.claims) == tuple(counts.facts) == VERDICTS
    assert all(counts.facts[verdict] <= counts.claims[verdict] for verdict in VERDICTS)
    decided = frame.loc[frame["verdict"] == REPRODUCED, "decided_by"]
    assert (counts.by_arithmetic, counts.by_training) == ((decided == "arithmetic").sum(), (decided == "paper").sum())
    assert counts.by_training > 0


def test_the_headlines_name_claims_of_the_ledger_once(evidence):
    found = headlines(judge_all(evidence()))
    named = [name for one in found for name in one.claims]
    assert 6 <= len(found) <= 10
    assert len(set(named)) == len(named)
    assert set(named) <= {claim.id for claim in load_claims()}
    for one in found:
        assert sum(one.others.values()) == len(one.claims) - 1
        assert one.sentence.endswith(".")


def test_a_headline_follows_its_verdict(factory, evidence):
    def parity():
        (one,) = (one for one in headlines(judge_all(evidence())) if "parity" in one.claims)
        return one

    assert (parity().verdict, "not measured at the paper's length yet" in parity().sentence) == (NOT_MEASURED, True)
    write(factory, "main_cifar10", 0.92, scale="short")
    write(factory, "fp32_cifar10", 0.95, scale="short")
    assert re.search(
        r"yet; −[\d.]+ points \(n = 1; best epoch.*less “unq.*\) at scale short\.$",
        parity().sentence,
    )
    write(factory, "main_cifar10", 0.92, 0.92, 0.92)
    for accuracy, verdict, words in (
        ((0.92, 0.92, 0.921), REPRODUCED, "holds"),
        ((0.92, 0.93, 0.94), WITHIN_NOISE, "still open within noise"),
        ((0.95, 0.95, 0.951), NOT_REPRODUCED, "does not hold"),
    ):
        write(factory, "fp32_cifar10", *accuracy)
        assert (parity().verdict, f": {words}, " in parity().sentence) == (verdict, True)
        assert re.search(r"\(n = 3; best epoch.*\) at scale paper\.$", parity().sentence)
    schedule = next(one for one in headlines(judge_all(evidence())) if one.title == "Schedule")
    assert schedule.verdict == AGAINST_LOG
    assert "the authors' own log has 0.016 of the initial rate" in schedule.sentence


def test_the_warning_stays_until_the_main_result_has_runs(factory, evidence):
    length = "of the paper's length (150 epochs; 100 in the ablation)"
    assert f"No run {length} is finished yet. So" in length_warning(evidence())
    factory.write("mobile_cifar10", "paper", 0)
    assert "is finished yet; 1 run of 6 epochs is. So nothing" in length_warning(evidence())
    factory.write("ablation_full", "paper", 0)
    assert f"1 run {length} is finished, but not both" in length_warning(evidence())
    factory.write("main_cifar10", "paper_bf16", 0)
    factory.write("fp32_cifar10", "paper", 0)  # in another arithmetic: no twin
    assert length_warning(evidence())
    factory.write("fp32_cifar10", "paper_bf16", 0)
    assert not length_warning(evidence())


def test_the_readme_s_part(factory, evidence):
    write(factory, "main_cifar10", 0.85, scale="short")
    write(factory, "fp32_cifar10", 0.86, scale="short")
    write(factory, "ablation_full", 0.99, scale="quick")
    text = readme_findings(evidence())
    counts = count(judge_all(evidence()))
    assert f"Of {counts.total} claims, about {counts.total_facts} facts ({counts.own} claims are this suite's" in text
    assert f"{counts.by_arithmetic} hold by arithmetic on printed numbers and 0 by training here" in text
    assert "**No run of the paper's length" in text
    assert len(re.findall(r"^- \*\*", text, re.MULTILINE)) == len(headlines(judge_all(evidence())))
    assert "| 4-bit, CIFAR-10 | `short` | 9 | 1 | 85.00 | 84.00 |" in text
    assert "| unquantised (bf16), same training | `short` | 9 | 1 | 86.00 | 85.00 |" in text
    assert "99.00" not in text, "digits are no CIFAR"
    assert "trained again" not in text
    assert text == readme_findings(evidence(), judge_all(evidence()))
    write(factory, "ptq4_cifar10", 0.87, scale="short")
    factory.take_retrained("ptq4_cifar10", "short", 0, "fp32_cifar10", 0.88)
    row = "| PTQ, 4-bit, per tensor (absmax), of weights with 88.00\N{NO-BREAK SPACE}% | `short` | 9 | 1 | – | 87.00 |"
    text = readme_findings(evidence())
    assert row in text
    assert "they have 88.00\N{NO-BREAK SPACE}% instead of 85.00\N{NO-BREAK SPACE}% (seed 0, scale short)." in text
