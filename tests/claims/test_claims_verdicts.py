"""The whole ledger over synthetic records."""

import json
import re

import pandas as pd
import pytest
from scipy import stats

from repro.analysis import load_evidence
from repro.claims import VERDICTS, fact_counts, format_claims, judge_claims, load_claims, verdict_counts
from repro.claims.rules import (
    AGAINST_ARITHMETIC,
    AGAINST_ITSELF,
    AGAINST_LOG,
    NOT_MEASURED,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
    WITHIN_NOISE,
)
from repro.records.sharpness import Sharpness, write_sharpness

# Point of the list of contradictions: claims, their verdict, and a figure or word that its reason has to name.
CONTRADICTIONS = [
    (1, "warm_restarts_cifar10", AGAINST_LOG, "0.016"),
    (1, "warm_restarts_cifar100", AGAINST_LOG, "0.016"),
    (2, "cifar10_stable_after_100", AGAINST_LOG, "87.83"),
    (3, "parameters_cifar100", AGAINST_ARITHMETIC, "3,297,188"),
    (4, "table4_row2_min", AGAINST_LOG, "12"),
    (4, "table4_row3_mean", AGAINST_LOG, "14.90"),
    (4, "table4_row4_min", AGAINST_LOG, "14"),
    (4, "unique_values_cifar10", AGAINST_LOG, "12"),
    (4, "unique_values_cifar100", AGAINST_LOG, "13"),
    (4, "cifar100_levels_after_peak", AGAINST_LOG, "13"),
    (5, "table5_own_run", AGAINST_LOG, "5"),
    (6, "cifar10_epoch_7", AGAINST_LOG, "82.22"),
    (7, "cifar10_final_train", AGAINST_LOG, "95.41"),
    (7, "cifar100_final_train", AGAINST_LOG, "80.05"),
    (8, "ablation_largest", AGAINST_ARITHMETIC, "number 3 of 3 single removals"),
    (11, "int4_size_cifar10", REPRODUCED, "beside it: 3,246,784 weights at 4 bits, with biases, batch norm and scales "
                                          "in FP32, are 1,651,680 bytes"),
    (11, "compression_cifar10", REPRODUCED, "7.88"),
    (12, "training_time", NOT_MEASURED, "4.8 h at that peak, 2.1 h with Winograd's F(2×2, 3×3)"),
    (13, "bitnet_bits", AGAINST_ITSELF, "1-bit"),
    (14, "no_prior_work", NOT_TESTABLE, "DoReFa"),
]  # fmt: skip
# What the log contradicts, by fact: levels, schedule, stability, table V, epoch 7, final train accuracy.
FACTS_AGAINST_THE_LOG = {"levels", "schedule", "cifar10_stable_after_100", "table5", "cifar10_epoch_7", "final_train"}
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


def test_claims_that_stand_or_fall_together_are_one_fact(judged):
    frame = judged().reset_index()
    contradicted = frame[frame["verdict"] == AGAINST_LOG]
    assert set(contradicted["fact"]) == FACTS_AGAINST_THE_LOG
    assert len(contradicted) > 2 * len(FACTS_AGAINST_THE_LOG)
    assert fact_counts(frame)[AGAINST_LOG] == len(FACTS_AGAINST_THE_LOG)
    assert fact_counts(frame)[AGAINST_ARITHMETIC] == 2
    assert frame.loc[frame["claim"] == "cifar10_best", "fact"].item() == "cifar10_best"


def test_a_reduced_scale_stands_beside_and_decides_nothing(factory, judged):
    before = judged()["verdict"]
    write(factory, "main_cifar10", 0.98, scale="quick")
    row = judged().loc["cifar10_best"]
    assert (row["verdict"], row["measured"], row["measured_bf16"]) == (NOT_MEASURED, "", "")
    about = "n = 1, spread unknown, SE of the test images 0.74, best epoch"
    assert row["reduced"] == f"98.00 % ({about}) at scale quick on digits10: “4-bit, CIFAR-10”"
    write(factory, "main_cifar10", 0.80, 0.81, 0.82, scale="short")
    frame = judged()
    half = stats.t.ppf(0.95, 2) * 1.0 / 3**0.5
    assert frame.loc["cifar10_best", "reduced"].startswith(f"81.00 ± {half:.2f} % (n = 3, own, df 2, SE of the test")
    assert frame["verdict"].equals(before)


@pytest.mark.parametrize(
    ("best", "verdict"),
    [((0.922, 0.923, 0.924), REPRODUCED), ((0.912, 0.918, 0.924), WITHIN_NOISE), ((0.9, 0.9001, 0.9), NOT_REPRODUCED),
     ((0.9234,), NOT_MEASURED), ((0.90,), NOT_MEASURED)],
)  # fmt: skip
@pytest.mark.parametrize(("scale", "column"), [("paper", "measured"), ("paper_bf16", "measured_bf16")])
def test_the_paper_s_length_gives_the_verdict(factory, judged, best, verdict, scale, column):
    write(factory, "main_cifar10", *best, scale=scale)
    row = judged().loc["cifar10_best"]
    assert (row["verdict"], row["decided_by"]) == (verdict, "" if verdict == NOT_MEASURED else scale)
    assert f"n = {len(best)}" in row[column]
    assert "SE of the test images 0.2" in row[column] or "SE of the test images 0.3" in row[column]


def write_pool(factory, deviation=0.001, scale="paper"):
    """Two seeds of two experiments of other trajectories: their figures lie ``deviation`` around their means."""
    for name, mean in (("bits5_cifar10", 0.9), ("bits6_cifar10", 0.8)):
        write(factory, name, mean - deviation / 2**0.5, mean + deviation / 2**0.5, scale=scale)


@pytest.mark.parametrize(("best", "verdict"), [(0.9234, REPRODUCED), (0.927, WITHIN_NOISE), (0.94, NOT_REPRODUCED)])
def test_one_seed_takes_its_interval_from_the_pool(factory, judged, best, verdict):
    write(factory, "main_cifar10", best)
    assert judged().loc["cifar10_best", "verdict"] == NOT_MEASURED
    write_pool(factory, scale="paper_bf16")
    assert judged().loc["cifar10_best", "verdict"] == NOT_MEASURED  # arithmetics are never pooled
    write_pool(factory)
    row = judged().loc["cifar10_best"]
    assert row["verdict"] == verdict
    half = 100 * 0.001 * stats.t.ppf(0.95, 2)
    assert f"± {half:.2f} % (n = 1, pooled over 2 experiments, df 2, SE" in row["measured"]
    assert judged().loc["cifar100_best", "verdict"] == NOT_MEASURED


def test_a_training_under_several_names_counts_once_in_the_pool(factory, judged):
    """Full ablation, six epochs, restart and main run share a course; PTQ methods share their FP32 run's."""
    write(factory, "fp32_plain_cifar10", 0.9)
    shared = ("main_cifar10", "ablation_full", "mobile_cifar10", "schedule_restarts_cifar10", "schedule_as_run_cifar10")
    for name in shared:
        write(factory, name, 0.9, 0.91)
    ptq = ("fp32_cifar10", "ptq4_cifar10", "ptq4_mse_cifar10", "ptq8_cifar10", "ptq4_zero_rate_cifar10")
    for name in ptq:
        write(factory, name, 0.8, 0.82)
    row = judged().loc["fp32_baseline"]  # its nearest reading is the plain run
    assert "n = 1, pooled over 2 experiments, df 2" in row["measured"]


def test_epochs_that_schedules_share_count_once(factory, judged):
    """One cosine over 150 starts as the main run does: the same first epoch, another course after it."""
    write(factory, "mobile_cifar10", 0.8)
    write(factory, "main_cifar10", 0.90, 0.91)
    write(factory, "schedule_one_cosine_cifar10", 0.90, 0.91)
    assert "pooled over 1 experiment, df 1" in judged().loc["cifar10_epoch_1", "measured"]
    write(factory, "schedule_one_cosine_cifar10", 0.85, 0.87)
    assert "pooled over 2 experiments, df 2" in judged().loc["cifar10_epoch_1", "measured"]
    write(factory, "bits5_cifar10", 0.85, 0.87)  # equal by chance, but another recipe
    assert "pooled over 3 experiments, df 3" in judged().loc["cifar10_epoch_1", "measured"]


@pytest.mark.parametrize("scale", ["paper", "paper_bf16"])
def test_the_first_epochs_alone_answer_for_the_run_that_they_begin(factory, judged, scale):
    """Table V's six epochs are the main run's first, bit for bit; they say nothing of the seventh or of the peak."""
    column = {"paper": "measured", "paper_bf16": "measured_bf16"}[scale]
    write(factory, "mobile_cifar10", 0.80, 0.81, 0.82, scale=scale)
    frame = judged()
    epoch_1, phone = frame.loc["cifar10_epoch_1"], frame.loc["table5_epoch1_test"]
    assert (epoch_1["verdict"], epoch_1["decided_by"]) == (phone["verdict"], phone["decided_by"]) != (NOT_MEASURED, "")
    assert epoch_1[column].partition(":")[0] == phone[column].partition(":")[0]
    assert (
        "“4-bit, CIFAR-10” (read from “Six epochs (table V)” with seed 0, 1, 2, the same up to epoch 1)"
        in epoch_1["reason"]
    )
    for other in ("cifar10_epoch_7", "cifar10_epoch_19", "table4_row1_min", "cifar10_best", "cifar100_epoch_1"):
        assert frame.loc[other, column] == ""

    write(factory, "main_cifar10", 0.90, scale=scale)  # its own run goes before, seed by seed
    assert "“Six epochs (table V)” with seed 1, 2, the same" in judged().loc["cifar10_epoch_1", "reason"]


def test_what_became_of_a_longer_run_later_does_not_count(factory, judged):
    """A main run that lost its numbers after the ablation's 100 epochs is that ablation; one that did before is not."""
    write(factory, "ablation_full", 0.920, 0.921, 0.922)
    before = judged().loc["ablation_full", ["verdict", "measured"]]
    cut_short(factory.write("main_cifar10", "paper", 3, 0.9), 40)
    assert judged().loc["ablation_full", ["verdict", "measured"]].equals(before)
    cut_short(factory.write("main_cifar10", "paper", 4, 0.9), 120)
    row = judged().loc["ablation_full"]
    assert "n = 4" in row["measured"]
    assert "diverged" not in row["measured"]
    assert "(read from “4-bit, CIFAR-10” with seed 4, the same up to epoch 100)" in row["reason"]


def cut_short(folder, epochs):
    """A record of a run that lost its numbers after so many epochs."""
    for name in ("epochs.csv", "layers.csv"):
        head, *rows = (folder / name).read_text().splitlines()
        kept = [row for row in rows if int(row.split(",")[0]) <= epochs]
        (folder / name).write_text("\n".join([head, *kept]) + "\n")
    record = json.loads((folder / "record.json").read_text())
    record.update(status="diverged", reason="lost its numbers")
    record["summary"].update(epochs_run=epochs, final_test_loss=None)
    (folder / "record.json").write_text(json.dumps(record))


def test_the_first_epochs_of_a_shortened_run_are_no_epochs_of_the_paper(factory, judged):
    write(factory, "mobile_cifar10", 0.80, 0.81, scale="short")
    assert judged().loc["cifar10_epoch_1", "reduced"] == ""


def test_a_run_that_ends_within_a_range_of_epochs_has_no_figure_of_it(factory, judged):
    """Neither of its own nor for a pool: six epochs do not show how epochs 1 to 10 scatter."""
    write(factory, "mobile_cifar10", 0.80, 0.81, 0.82)
    write(factory, "main_cifar10", 0.90)
    assert "spread unknown" in judged().loc["table4_row1_mean", "measured"]


def test_quantisation_after_training_does_not_borrow_the_spread_of_trainings(factory, judged):
    write_pool(factory)
    write(factory, "fp32_cifar10", 0.92, 0.921)
    write(factory, "ptq4_cifar10", 0.66, 0.60)
    row = judged().loc["table2_ptq"]
    assert "63.00 ± 18.94 % (n = 2" in row["measured"]


def test_two_seeds_too_far_apart_for_the_pool_have_their_own_spread(factory, judged):
    write_pool(factory)
    write(factory, "main_cifar10", 0.92, 0.9215)
    assert "n = 2, pooled over 3 experiments" in judged().loc["cifar10_best", "measured"]
    write(factory, "main_cifar10", 0.89, 0.92)
    write_pool(factory, 0.0001)
    assert "n = 2, own, df 1" in judged().loc["cifar10_best", "measured"]


def test_a_reading_without_a_common_seed_is_still_to_run(factory, judged):
    write(factory, "main_cifar10", 0.90, 0.901, 0.902)
    for name in ("fp32_cifar10", "fp32_plain_cifar10"):
        write(factory, name, 0.95, 0.951, 0.952)
    factory.write("fp32_sgd_cifar10", "paper", 7, 0.95)
    row = judged().loc["gap_measured"]
    assert row["verdict"] == NOT_MEASURED
    assert "not all readings have run: “FP32, SGD" in row["reason"]


def test_a_seed_that_diverged_before_the_figure_counts_against_it(factory, judged):
    for name in ("main_cifar10", "fp32_cifar10"):
        write(factory, name, 0.90, 0.901, 0.902)
    assert judged().loc["parity_zero_rate", "verdict"] == REPRODUCED
    cut_short(factory.write("main_cifar10", "paper", 2, 0.9), 40)
    row = judged().loc["parity_zero_rate"]
    assert row["verdict"] == WITHIN_NOISE
    assert "1 more of 3 seeds diverged before it" in row["reason"]


def test_what_torch_can_do_is_not_shown_by_kernels_of_our_own(factory, judged):
    folders = [factory.write(name, "paper") for name in ("main_cifar10", "main_cifar100")]
    assert judged().loc["no_specialised_kernels", "verdict"] == REPRODUCED
    for folder in folders:
        record = json.loads((folder / "record.json").read_text())
        record["environment"]["kernels"] = {"step": "fused"}
        (folder / "record.json").write_text(json.dumps(record))
    assert judged().loc["no_specialised_kernels", "verdict"] == NOT_MEASURED


def test_figures_of_a_whole_run_are_pooled_with_runs_of_its_length(factory, judged):
    """The best of 100 epochs, the last at a rate of zero, scatters otherwise than that of 150; epoch 1 is epoch 1."""
    write(factory, "main_cifar10", 0.92)
    for name in ("ablation_no_gradient_clip", "ablation_no_weight_clip"):
        write(factory, name, 0.7, 0.8)
    frame = judged()
    assert "spread unknown" in frame.loc["cifar10_best", "measured"]
    assert "pooled over 2 experiments, df 2" in frame.loc["cifar10_epoch_1", "measured"]


def test_a_run_that_diverged_is_in_no_pool_and_takes_nothing_from_it(factory, judged):
    write_pool(factory)
    for seed in (0, 1):
        factory.write("bits3_cifar10", "paper", seed, 0.1 + 0.3 * seed, status="diverged")
    factory.write("main_cifar10", "paper", 0, 0.1, status="diverged")
    row = judged().loc["cifar10_best"]
    assert (row["verdict"], "diverged: only more seeds of its own" in row["reason"]) == (NOT_MEASURED, True)
    write(factory, "bits8_cifar10", 0.9)
    assert "pooled over 2 experiments, df 2" in judged().loc["table2_qat8", "measured"]


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


def test_a_pair_needs_common_seeds_of_one_scale(factory, judged):
    write(factory, "main_cifar10", 0.92, 0.92, 0.92)
    for seed in (3, 4, 5):
        factory.write("fp32_cifar10", "paper", seed, 0.92)
    write(factory, "fp32_cifar10", 0.92, 0.92, 0.92, scale="paper_bf16")
    row = judged().loc["parity"]
    assert (row["verdict"], row["measured"], row["measured_bf16"]) == (NOT_MEASURED, "", "")


def test_one_pair_takes_its_interval_from_paired_differences(factory, judged):
    """Seeds that lift all experiments alike say nothing of a difference."""
    write(factory, "main_cifar10", 0.92)
    write(factory, "fp32_cifar10", 0.921)
    assert judged().loc["parity", "verdict"] == NOT_MEASURED
    write(factory, "bits5_cifar10", 0.90, 0.95)
    assert judged().loc["parity", "verdict"] == NOT_MEASURED  # one experiment has no differences
    write(factory, "bits6_cifar10", 0.80, 0.8505)
    row = judged().loc["parity"]
    assert row["verdict"] == REPRODUCED
    half = 0.05 / 2**0.5 * stats.t.ppf(0.95, 1)
    assert f"−0.10 ± {half:.2f} points (n = 1, pooled over 2 experiments, df 1" in row["measured"]


def test_of_several_readings_the_one_nearest_to_the_paper_counts(factory, judged):
    write(factory, "ablation_full", 0.9321, 0.9322, 0.9323)
    write(factory, "ablation_scale_fixed_3", 0.30, 0.301, 0.302)
    row = judged().loc["ablation_no_layer_scale"]
    titles = ("fixed c = 1.0", "one maximum over all layers", "scale of the initial weights kept")
    missing = ", ".join(f"“w/o per-layer scaling: {title}”" for title in titles)
    assert (row["verdict"], f"not all readings have run: {missing}" in row["reason"]) == (NOT_MEASURED, True)
    for name in ("fixed_1", "initial"):
        write(factory, f"ablation_scale_{name}", 0.30, 0.301, 0.302)
    assert judged().loc["ablation_no_layer_scale", "verdict"] == NOT_MEASURED
    write(factory, "ablation_scale_global", 0.91, 0.911, 0.912)
    assert judged().loc["ablation_no_layer_scale", "verdict"] == NOT_REPRODUCED
    write(factory, "ablation_scale_global", 0.850, 0.8505, 0.8510)  # a point lower at the last epoch
    row = judged().loc["ablation_no_layer_scale"]
    assert (row["verdict"], "one maximum over all layers" in row["reason"]) == (REPRODUCED, True)
    assert "corrected for 4 readings" in row["reason"]


@pytest.mark.parametrize(("weakest", "verdict"), [(0.90, REPRODUCED), (0.925, WITHIN_NOISE), (0.945, NOT_REPRODUCED)])
def test_all_components_are_necessary_only_if_the_weakest_is(factory, judged, weakest, verdict):
    write(factory, "ablation_full", 0.93, 0.931, 0.93)
    write(factory, "ablation_scale_fixed_3", 0.30, 0.30, 0.30)
    write(factory, "ablation_no_weight_clip", 0.85, 0.85, 0.85)
    assert judged().loc["ablation_all_necessary", "verdict"] == NOT_MEASURED  # one of the three is missing
    write(factory, "ablation_no_gradient_clip", weakest, weakest, weakest + 0.001)
    assert judged().loc["ablation_all_necessary", "verdict"] == verdict


def test_rank_of_a_contribution_is_measured_too(factory, judged):
    for name, best in {"full": 0.93, "no_weight_clip": 0.85, "scale_fixed_3": 0.30, "no_gradient_clip": 0.9}.items():
        write(factory, f"ablation_{name}", best)
    row = judged().loc["ablation_largest"]
    assert (row["measured"], row["verdict"]) == ("rank 2 (n = 1, spread unknown, last epoch)", AGAINST_ARITHMETIC)


def test_ptq_is_compared_with_the_very_weights_that_it_took(factory, judged):
    """FP32 peaks at 93 % and ends at 92 %; its weights of epoch 100 have less than either."""
    write(factory, "fp32_cifar10", 0.93)
    write(factory, "ptq4_cifar10", 0.90)
    assert judged().loc["table2_ptq_gap", "measured"].startswith("2.00 points")
    path = factory.write("ptq4_zero_rate_cifar10", "paper", 0, 0.60) / "epochs.csv"
    path.write_text(path.read_text().replace("\n150,", "\n100,"))
    at_100 = 93 * 100 / 149
    row = judged().loc["qat_over_ptq"]
    assert row["verdict"] == NOT_MEASURED
    write(factory, "main_cifar10", 0.93)
    assert judged().loc["qat_over_ptq", "measured"].startswith("2.00 points")  # the weaker of 92 - 90 and 62.42 - 60
    assert at_100 - 60 > 2
    factory.write("ptq4_cifar10", "paper", 0, 0.5)
    assert judged().loc["qat_over_ptq", "measured"].startswith(f"{at_100 - 60:.2f} points")


def test_ptq_of_weights_that_were_trained_again_is_compared_with_their_accuracy(factory, judged):
    write(factory, "fp32_cifar10", 0.93)
    write(factory, "ptq4_cifar10", 0.90)
    assert judged().loc["table2_ptq_gap", "measured"].startswith("2.00 points")
    factory.take_retrained("ptq4_cifar10", "paper", 0, "fp32_cifar10", 0.935)
    assert judged().loc["table2_ptq_gap", "measured"].startswith("3.50 points")
    factory.take_retrained("ptq4_cifar10", "paper", 0, "main_cifar10", 0.935)  # somebody else's weights
    assert judged().loc["table2_ptq_gap", "measured"].startswith("2.00 points")


def test_what_choosing_on_the_test_set_adds_is_read_within_one_run(factory, judged):
    write(factory, "validated_main_cifar10", 0.93, 0.931, 0.932)  # the factory's twin loses 2 points by validation
    row = judged().loc["held_out_cifar10"]
    assert (row["measured"].split(" (")[0], row["verdict"]) == ("2.00 points", NOT_REPRODUCED)


def test_sharper_minima_wait_for_a_measurement_on_both_arms(factory, judged):
    """Two data sets, so their spreads add up; here each has three seeds of its own."""
    folders = {name: [factory.write(name, "paper", seed) for seed in range(3)] for name in
               ("main_cifar10", "main_cifar100")}  # fmt: skip
    assert judged().loc["sharper_minima", "verdict"] == NOT_MEASURED
    for name, rise in (("main_cifar10", 0.1), ("main_cifar100", 0.5)):
        for seed, folder in enumerate(folders[name]):
            write_sharpness(folder, Sharpness(
                spec_hash=folder.name.partition("-")[2], seed=seed, weights="last", images={"train": 5, "test": 5},
                train_loss=0.2, test_loss=0.3, environment={},
                moved={"0.1": {"train_loss": [0.2 + rise + 0.01 * seed], "test_loss": [0.4]}},
            ))  # fmt: skip
    row = judged().loc["sharper_minima"]
    assert (row["verdict"], row["measured"].split(" (")[0]) == (REPRODUCED, "0.400 ± 0.000 nats")


def test_relative_errors_of_two_data_sets(factory, judged):
    for name, errors in {
        "main_cifar10": (0.08, 0.081, 0.082), "fp32_cifar10": (0.08, 0.081, 0.082),
        "main_cifar100": (0.33, 0.331, 0.332), "fp32_cifar100": (0.30, 0.301, 0.302),
    }.items():  # fmt: skip
        write(factory, name, *(1 - error for error in errors))
    row = judged().loc["relative_error"]
    assert row["verdict"] == NOT_REPRODUCED
    assert row["measured"].startswith("0.095 ± 0.001 log units (n = 3")
    assert (
        "(“4-bit, CIFAR-100” less “FP32, same training, CIFAR-100”) less (“4-bit, CIFAR-10” less “FP32, same training”)"
        in row["reason"]
    )


def test_in_bfloat16_the_unquantised_arm_is_never_called_fp32(factory, judged):
    write(factory, "main_cifar10", 0.92, 0.92, 0.921, scale="paper_bf16")
    write(factory, "fp32_cifar10", 0.92, 0.92, 0.92, scale="paper_bf16")
    row = judged().loc["parity"]
    assert (row["verdict"], row["decided_by"]) == (REPRODUCED, "paper_bf16")
    assert "“4-bit, CIFAR-10” less “unquantised (bf16), same training” at scale paper_bf16" in row["reason"]
    assert "fp32_cifar10" not in row["reason"]
    assert row["beside"] == "bf16 against FP32: no run exists in both yet"


def test_beside_a_bf16_verdict_stands_what_is_known_of_it(factory, judged):
    write(factory, "main_cifar10", 0.92, 0.92, 0.921, scale="paper_bf16")
    write(factory, "mobile_cifar10", 0.79, scale="paper_bf16")
    write(factory, "mobile_cifar10", 0.80)
    row = judged().loc["cifar10_best"]
    assert row["beside"].endswith("bf16 less FP32: mobile_cifar10 seed 0 −1.00 points")
    assert row["beside"] in row["reason"]
    factory.write("main_cifar10", "paper", 1, 0.923)
    row = judged().loc["cifar10_best"]
    assert row["decided_by"] == "paper_bf16"  # one seed in FP32 decides nothing
    assert row["beside"] == "bf16 less FP32 on the same run: main_cifar10 seed 1 −0.30 points"
    assert (row["measured"] != "", row["measured_bf16"] != "") == (True, True)


def test_training_on_a_cpu_counts_only_runs_on_a_cpu(factory, judged):
    path = factory.write("main_cifar10", "paper") / "record.json"
    assert judged().loc["cpu_only", "verdict"] == REPRODUCED
    text = path.read_text()
    path.write_text(text.replace('"device": "cpu"', '"device": "cuda"'))
    assert judged().loc["cpu_only", "verdict"] == NOT_MEASURED
    path.write_text(text.replace('"status": "completed"', '"status": "diverged"'))
    row = judged().loc["cpu_only"]
    shown = "0 % completed (n = 1, spread unknown, 1 diverged)"
    assert (row["verdict"], row["measured"]) == (NOT_MEASURED, shown)
    factory.write("main_cifar10", "paper", 1, status="diverged")
    assert judged().loc["cpu_only", "verdict"] == NOT_REPRODUCED


def test_epochs_of_a_shorter_run_are_read_at_the_same_share(factory, judged):
    write(factory, "main_cifar10", 0.9, scale="short")  # 9 epochs: epoch 75 of 150 is epoch 5, of 8 to the peak
    assert judged().loc["cifar10_epoch_75", "reduced"].startswith("56.25 %")


def test_every_claim_with_experiments_of_this_suite_is_measured_once_all_have_run(factory, judged):
    factory.write_all("paper", seeds=(0, 1, 2))
    frame = judged()
    for claim in load_claims():
        if claim.experiments and claim.query.name != "sharpness":  # which records do not hold
            assert frame.loc[claim.id, "measured"], claim.id
            if claim.rule != "time":
                assert frame.loc[claim.id, "verdict"] != NOT_MEASURED, (claim.id, frame.loc[claim.id, "reason"])


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
        facts = fact_counts(frame)[verdict]
        assert re.search(rf"^ +{count} +{facts}  {verdict}$", text, re.MULTILINE)
        assert text.count(f"\n[{verdict}]") == count
    assert isinstance(frame, pd.DataFrame)
    assert all(isinstance(value, str) for value in frame.to_numpy().ravel())
