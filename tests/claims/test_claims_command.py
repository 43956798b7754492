"""`python -m repro claims` on made-up records: what a user reads in each state of the evidence."""

import re

import pytest
from report_factory import CONFIG

from repro.cli import main

BEST = "4-bit training reaches 92.34 % test accuracy on CIFAR-10"
LAYERS = "Training without per-layer scaling reaches 84.1 % in 100 epochs"


@pytest.fixture
def printed(factory, capsys):
    """The ledger's entry of a statement, as one line."""

    def entry(statement):
        factory.results.mkdir(exist_ok=True)
        assert main(["claims", "--config", str(CONFIG), "--results", str(factory.results)]) == 0
        text = " ".join(capsys.readouterr().out.split())
        found = re.search(r"\[([^\[\]]+)\] " + re.escape(statement) + r"(.*?)(?= \[|$)", text)
        return found[1], found[2]

    return entry


def write(factory, experiment, *best, scale="paper"):
    for seed, accuracy in enumerate(best):
        factory.write(experiment, scale, seed, accuracy)


def test_no_record(printed):
    verdict, text = printed(BEST)
    assert (verdict, "no run at the paper's length; the authors' log agrees" in text) == ("not measured yet", True)
    assert "measured" not in text.replace("measured yet", "")


def test_one_seed(factory, printed):
    write(factory, "main_cifar10", 0.80)
    verdict, text = printed(BEST)
    assert verdict == "not measured yet"
    assert "measured 80.00 % (n = 1, spread unknown, SE of the test images 0.40, best epoch)" in text
    assert "one seed, and nothing at scale paper has the two seeds that a spread needs" in text


@pytest.mark.parametrize(("best", "verdict"), [(0.9234, "reproduced"), (0.80, "not reproduced")])
def test_one_seed_and_a_pooled_spread(factory, printed, best, verdict):
    write(factory, "main_cifar10", best)
    write(factory, "bits5_cifar10", 0.90, 0.901)
    write(factory, "bits6_cifar10", 0.80, 0.801)
    found, text = printed(BEST)
    assert found == verdict
    assert re.search(r"± 0\.21 % \(n = 1, pooled over 2 experiments, df 2, SE of the test images", text)
    assert "“4-bit, CIFAR-10” at scale paper" in text


def test_three_seeds(factory, printed):
    write(factory, "main_cifar10", 0.923, 0.9235, 0.924)
    verdict, text = printed(BEST)
    assert (verdict, "(n = 3, own, df 2" in text) == ("reproduced", True)


def test_one_training_under_several_names_narrows_nothing(factory, printed):
    write(factory, "main_cifar10", 0.93, 0.94)
    alone = printed(BEST)
    for name in ("ablation_full", "schedule_as_run_cifar10", "schedule_restarts_cifar10", "mobile_cifar10"):
        write(factory, name, 0.93, 0.94)
    assert printed(BEST) == alone
    assert "n = 2, pooled over 1 experiment, df 1" in alone[1]


def test_missing_readings(factory, printed):
    write(factory, "ablation_scale_fixed_3", 0.30, 0.301, 0.302)
    verdict, text = printed(LAYERS)
    assert verdict == "not measured yet"
    titles = ("fixed c = 1.0", "one maximum over all layers", "scale of the initial weights kept")
    missing = ", ".join(f"“w/o per-layer scaling: {title}”" for title in titles)
    assert f"not all readings have run: {missing}" in text
    for name in ("fixed_1", "global", "initial"):
        write(factory, f"ablation_scale_{name}", 0.30, 0.301, 0.302)
    verdict, text = printed(LAYERS)
    assert (verdict, "all 4 readings are refuted" in text) == ("not reproduced", True)


def test_both_arithmetics(factory, printed):
    write(factory, "main_cifar10", 0.90, 0.90, 0.901, scale="paper_bf16")
    verdict, text = printed(BEST)
    assert (verdict, "“4-bit, CIFAR-10” at scale paper_bf16; bf16 against FP32: no run" in text) == (
        "not reproduced",
        True,
    )
    write(factory, "main_cifar10", 0.923, 0.923, 0.924)
    verdict, text = printed(BEST)
    assert verdict == "reproduced"
    assert re.search(r"measured 92\.33 ± 0\.10 % .* measured in bf16 90\.03 ± 0\.10 %", text)
    assert "“4-bit, CIFAR-10” at scale paper;" in text
