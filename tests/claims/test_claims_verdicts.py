"""The whole ledger over synthetic records."""

import re

import pandas as pd
import pytest

from repro.analysis import load_evidence
from repro.claims import VERDICTS, format_claims, judge_claims, load_claims, verdict_counts
from repro.claims.rules import (
    AGAINST_ARITHMETIC,
    AGAINST_LOG,
    NOT_MEASURED,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
    WITHIN_NOISE,
)

# Point of the list of contradictions: claims, their verdict, and a figure that its reason has to name.
CONTRADICTIONS = [
    (1, "warm_restarts_cifar10", AGAINST_LOG, "0.016"),
    (1, "warm_restarts_cifar100", AGAINST_LOG, "0.016"),
    (1, "cifar100_restart_epoch", AGAINST_LOG, "101"),
    (2, "cifar10_stable_after_100", AGAINST_LOG, "87.83"),
    (3, "parameters_cifar100", AGAINST_ARITHMETIC, "3,297,188"),
    (4, "table4_row2_min", AGAINST_LOG, "12"),
    (4, "table4_row3_mean", AGAINST_LOG, "14.90"),
    (4, "table4_row4_min", AGAINST_LOG, "14"),
    (4, "unique_values_cifar10", AGAINST_LOG, "12"),
    (4, "unique_values_cifar100", AGAINST_LOG, "13"),
    (4, "cifar100_levels_after_peak", AGAINST_LOG, "13"),
    (5, "table5_own_run", AGAINST_LOG, "5"),
    (5, "phone_accuracy", AGAINST_LOG, "81.91"),
    (6, "cifar10_epoch_7", AGAINST_LOG, "82.22"),
    (7, "cifar10_final_train", AGAINST_LOG, "95.41"),
    (7, "cifar100_final_train", AGAINST_LOG, "80.05"),
    (8, "ablation_largest", AGAINST_ARITHMETIC, "number 4 of 4"),
    (11, "int4_size_cifar10_packed", AGAINST_ARITHMETIC, "1,651,680"),
    (11, "compression_cifar10_packed", AGAINST_ARITHMETIC, "7.88"),
    (12, "training_time", AGAINST_ARITHMETIC, "568 GFLOP/s"),
    (13, "bitnet_bits", AGAINST_ARITHMETIC, "1 bit"),
    (14, "no_prior_work", NOT_TESTABLE, "DoReFa"),
]
# Points 9 and 10 say that the paper leaves its runs undefined or quotes them: only runs of ours can tell.
OPEN = [
    "ablation_no_layer_scale",
    "ablation_standard_adamw",
    "fp32_baseline",
    "table2_qat8",
    "table2_dorefa",
    "table2_ptq",
]


def write(factory, experiment, *best, scale="paper"):
    for seed, accuracy in enumerate(best):
        factory.write(experiment, scale, seed, accuracy)


@pytest.mark.parametrize(("point", "claim", "verdict", "figure"), CONTRADICTIONS)
def test_contradictions_stand_without_a_run(judged, point, claim, verdict, figure):
    row = judged().loc[claim]
    assert (row["verdict"], figure in row["reason"]) == (verdict, True), (point, row["reason"])


def test_what_only_runs_can_tell_is_open_without_them(judged):
    assert set(judged().loc[OPEN, "verdict"]) == {NOT_MEASURED}


def test_without_records_no_verdict_needs_a_measurement(judged):
    frame = judged().reset_index()
    assert list(frame["claim"]) == [claim.id for claim in load_claims()]
    assert not frame["measured"].any()
    assert not frame["reduced"].any()
    assert frame["reason"].all()
    assert not set(frame["verdict"]) & {WITHIN_NOISE, NOT_REPRODUCED}
    settled = set(frame.loc[frame["verdict"] == REPRODUCED, "claim"])
    assert settled == {c.id for c in load_claims() if c.arithmetic and not c.log and not c.experiments} - set(
        frame.loc[frame["verdict"] == AGAINST_ARITHMETIC, "claim"]
    )


def test_the_log_agreeing_is_not_our_reproduction(judged):
    row = judged().loc["cifar10_best"]
    assert (row["authors_log"], row["verdict"]) == ("92.34 %", NOT_MEASURED)
    assert "the authors' log agrees" in row["reason"]


def test_a_reduced_scale_stands_beside_and_decides_nothing(factory, judged):
    before = judged()["verdict"]
    write(factory, "main_cifar10", 0.98, scale="quick")
    row = judged().loc["cifar10_best"]
    assert (row["verdict"], row["measured"]) == (NOT_MEASURED, "")
    assert row["reduced"] == "98.00 % (n = 1, SE 0.74) at scale quick on digits10: main_cifar10"
    write(factory, "main_cifar10", 0.80, 0.81, scale="short")
    frame = judged()
    assert frame.loc["cifar10_best", "reduced"].startswith("80.50 ± 6.35 % (n = 2) at scale short on cifar10")
    assert frame["verdict"].equals(before)
    write(factory, "main_cifar10", 0.90, 0.9001, 0.9, scale="paper_bf16")
    frame = judged()
    assert "at scale paper_bf16 on cifar10" in frame.loc["cifar10_best", "reduced"], "above short, below paper"
    assert frame["verdict"].equals(before)


@pytest.mark.parametrize(
    ("best", "verdict"),
    [((0.922, 0.924), REPRODUCED), ((0.914, 0.92), WITHIN_NOISE), ((0.90, 0.9001), NOT_REPRODUCED),
     ((0.923,), REPRODUCED), ((0.9182,), WITHIN_NOISE), ((0.90,), NOT_MEASURED)],
)  # fmt: skip
def test_scale_paper_gives_the_verdict(factory, judged, best, verdict):
    write(factory, "main_cifar10", *best)
    row = judged().loc["cifar10_best"]
    assert row["verdict"] == verdict
    assert f"n = {len(best)}" in row["measured"]


def test_a_contradiction_outlives_runs(factory, judged):
    write(factory, "main_cifar10", 0.922, 0.924)
    frame = judged()
    assert frame.loc["cifar10_final_train", "verdict"] == AGAINST_LOG
    assert frame.loc["cifar10_final_train", "measured"]


@pytest.mark.parametrize(
    ("fp32", "verdict"),
    [((0.9201, 0.922, 0.9241), REPRODUCED), ((0.93, 0.92, 0.94), WITHIN_NOISE), ((0.94, 0.942, 0.944), NOT_REPRODUCED)],
)
def test_parity_is_judged_on_paired_differences(factory, judged, fp32, verdict):
    write(factory, "main_cifar10", 0.920, 0.922, 0.924)
    write(factory, "fp32_cifar10", *fp32)
    assert judged().loc["parity", "verdict"] == verdict


def test_a_pair_needs_common_seeds(factory, judged):
    factory.write("main_cifar10", "paper", 0, 0.92)
    factory.write("fp32_cifar10", "paper", 1, 0.92)
    assert judged().loc["parity", "verdict"] == NOT_MEASURED


def test_of_several_readings_the_one_nearest_to_the_paper_counts(factory, judged):
    write(factory, "ablation_full", 0.9321, 0.9322)
    write(factory, "ablation_scale_fixed_3", 0.30, 0.301)
    assert judged().loc["ablation_no_layer_scale", "verdict"] == NOT_REPRODUCED
    write(factory, "ablation_scale_global", 0.853)
    row = judged().loc["ablation_no_layer_scale"]
    assert (row["verdict"], "ablation_scale_global" in row["reason"]) == (REPRODUCED, True)


@pytest.mark.parametrize(("weakest", "verdict"), [(0.90, REPRODUCED), (0.929, WITHIN_NOISE), (0.945, NOT_REPRODUCED)])
def test_all_components_are_necessary_only_if_the_weakest_is(factory, judged, weakest, verdict):
    write(factory, "ablation_full", 0.93)
    write(factory, "ablation_scale_fixed_3", 0.30)
    write(factory, "ablation_no_weight_clip", 0.85)
    assert judged().loc["ablation_all_necessary", "verdict"] == NOT_MEASURED  # one of the three is missing
    write(factory, "ablation_no_gradient_clip", weakest)
    assert judged().loc["ablation_all_necessary", "verdict"] == verdict


def test_rank_of_a_contribution_is_measured_too(factory, judged):
    for name, best in {"full": 0.93, "no_weight_clip": 0.85, "scale_fixed_3": 0.30, "no_gradient_clip": 0.9}.items():
        write(factory, f"ablation_{name}", best)
    row = judged().loc["ablation_largest"]
    assert (row["measured"], row["verdict"]) == ("rank 2 (n = 1)", AGAINST_ARITHMETIC)


def test_training_on_a_cpu_counts_only_runs_on_a_cpu(factory, judged):
    path = factory.write("main_cifar10", "paper") / "record.json"
    assert judged().loc["cpu_only", "verdict"] == REPRODUCED
    text = path.read_text()
    path.write_text(text.replace('"device": "cpu"', '"device": "cuda"'))
    assert judged().loc["cpu_only", "verdict"] == NOT_MEASURED
    path.write_text(text.replace('"status": "completed"', '"status": "diverged"'))
    row = judged().loc["cpu_only"]
    assert (row["verdict"], row["measured"]) == (NOT_REPRODUCED, "0 % completed (n = 1, 1 diverged)")


def test_epochs_of_a_shorter_run_are_read_at_the_same_share(factory, judged):
    write(factory, "main_cifar10", 0.9, scale="short")  # 9 epochs: epoch 75 of 150 is epoch 5, of 8 to the peak
    assert judged().loc["cifar10_epoch_75", "reduced"].startswith("56.25 %")


def test_every_claim_with_experiments_of_this_suite_is_measured_once_all_have_run(factory, judged):
    factory.write_all("paper", seeds=(0, 1))
    frame = judged()
    runnable = set(factory.config.experiments)
    for claim in load_claims():
        if claim.experiments and {*claim.experiments, *claim.minus} <= runnable:
            assert frame.loc[claim.id, "measured"], claim.id
            assert frame.loc[claim.id, "verdict"] != NOT_MEASURED, claim.id


def test_counts_and_text(factory):
    frame = judge_claims(load_evidence(factory.config, factory.results))
    counts = verdict_counts(frame)
    assert tuple(counts) == VERDICTS
    assert sum(counts.values()) == len(frame)
    assert set(verdict_counts(frame.iloc[:0]).values()) == {0}
    text = format_claims(frame)
    assert text.count("\n[") == len(frame)
    assert max(map(len, text.splitlines())) <= 110
    for verdict, count in counts.items():
        assert re.search(rf"^ +{count}  {verdict}$", text, re.MULTILINE)
        assert text.count(f"\n[{verdict}]") == count
    assert isinstance(frame, pd.DataFrame)
    assert all(isinstance(value, str) for value in frame.to_numpy().ravel())
