import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from report_factory import CONFIG

from repro.analysis import deciding_scales, in_bf16, load_evidence
from repro.config import Plan, load_config
from repro.records import EPOCHS_NAME


def load(factory):
    return load_evidence(factory.config, factory.results)


def test_no_records_gives_empty_frames_and_counts_what_is_not_run(factory):
    evidence = load(factory)
    assert evidence.runs.empty
    assert evidence.epochs.empty
    assert evidence.stale.empty
    assert evidence.unreadable.empty
    assert set(evidence.states["status"]) == {"not run"}
    assert evidence.scales_with(["main_cifar10"]) == ["quick"]


def test_one_run_serves_every_experiment_of_equal_spec(factory):
    factory.write("main_cifar10", best=0.9)
    evidence = load(factory)
    plan = Plan(factory.config, "quick")
    equal = [one.name for one in plan.experiments if plan.run(one.name, 0).key == plan.run("main_cifar10", 0).key]
    assert list(evidence.runs["experiment"]) == equal
    assert {"main_cifar10", "schedule_as_run_cifar10"} <= set(equal)
    assert evidence.runs["path"].nunique() == 1
    assert evidence.runs["path"].iloc[0].startswith("quick/main_cifar10/seed0-")
    assert (evidence.states["status"] == "completed").sum() == 1
    epochs = evidence.epochs
    ours, shared = (epochs[epochs["experiment"] == name] for name in ("main_cifar10", "schedule_as_run_cifar10"))
    assert list(ours["test_accuracy"]) == list(shared["test_accuracy"])


def test_a_record_is_found_whatever_its_folder_is_called(factory):
    factory.write("main_cifar10", folder="quick/from_a_phone/seed0-whatever")
    assert load(factory).select("quick", "main_cifar10").index.tolist() == [0]


def test_a_copy_of_a_run_is_set_aside_and_the_one_at_home_used(factory):
    home = factory.write("main_cifar10")
    shutil.copytree(home, factory.results / "quick" / "a_copy" / home.name)
    evidence = load(factory)
    assert evidence.select("quick", "main_cifar10")["path"].tolist() == [f"quick/main_cifar10/{home.name}"]
    assert "second record" in evidence.stale["reason"].iloc[0]


def test_a_record_of_another_hash_or_scale_is_stale_and_in_no_frame(factory):
    factory.write("main_cifar10", spec_hash="deadbeef")
    other = factory.write("main_cifar100")
    record = json.loads((other / "record.json").read_text())
    (other / "record.json").write_text(json.dumps({**record, "scale": "gone"}))
    evidence = load(factory)
    assert evidence.runs.empty
    assert evidence.epochs.empty
    assert set(evidence.stale["spec_hash"]) == {"deadbeef", record["spec_hash"]}
    assert "'gone'" in " ".join(evidence.stale["reason"])


def break_json(folder):
    (folder / "record.json").write_text("{")


def break_field(folder):
    record = json.loads((folder / "record.json").read_text())
    del record["summary"]["best_test_epoch"]
    (folder / "record.json").write_text(json.dumps(record))


def break_type(folder):
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "scale": ["quick"]}))


def break_status(folder):
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "status": "perhaps"}))


def lose_epochs(folder):
    (folder / EPOCHS_NAME).unlink()


def break_epochs(folder):
    (folder / EPOCHS_NAME).write_text("epoch,learning_rate\n1,0.1\n")


def cut_epochs(folder):
    lines = (folder / EPOCHS_NAME).read_text().splitlines(keepends=True)
    (folder / EPOCHS_NAME).write_text("".join(lines[:-1]))


@pytest.mark.parametrize(
    "damage", [cut_epochs, break_json, break_field, break_type, break_status, lose_epochs, break_epochs]
)
def test_a_damaged_record_is_listed_with_its_error(factory, damage):
    damage(factory.write("main_cifar10"))
    factory.write("main_cifar100")
    evidence = load(factory)
    assert len(evidence.unreadable) == 1
    assert evidence.unreadable["error"].iloc[0].startswith("quick/main_cifar10/seed0-")
    assert set(evidence.runs["experiment"]) == {"main_cifar100", "schedule_as_run_cifar100"}


def test_a_seed_that_the_scale_does_not_list_counts_too(factory):
    factory.write("main_cifar10", seed=7)
    evidence = load(factory)
    assert evidence.select("quick", "main_cifar10").index.tolist() == [7]
    quick = evidence.states[evidence.states["scale"] == "quick"]
    wanted = len(list(Plan(factory.config, "quick")))
    assert len(quick) == wanted + 1
    assert (quick["status"] == "not run").sum() == wanted


def test_absent_figures_are_nan_and_scales_are_in_the_reports_order(factory):
    factory.write("fp32_cifar10", "quick")
    factory.write("fp32_cifar10", "short")
    evidence = load(factory)
    assert list(dict.fromkeys(evidence.runs["scale"])) == ["short", "quick"]
    assert evidence.runs["best_epoch_levels_min"].isna().all()
    assert evidence.runs["validated_test_accuracy"].isna().all()
    assert evidence.scales_with(["fp32_cifar10"]) == ["short", "quick"]


@pytest.mark.parametrize("module", ["repro.paper", "repro.analysis", "repro.report"])
def test_importing_the_report_side_loads_no_training_library(module):
    code = (
        f"import sys, {module}; print([m for m in ('torch', 'mlflow', 'sklearn', 'torchvision') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


def test_fp32_goes_before_bfloat16_where_both_decide():
    config = load_config(CONFIG)
    assert deciding_scales(config) == ["paper", "paper_bf16"]
    assert [name for name in config.scales if in_bf16(config, name)] == ["short", "paper_bf16"]
    turned = replace(config, scales=dict(reversed(config.scales.items())))
    assert deciding_scales(turned) == ["paper", "paper_bf16"]


def test_runs_of_one_course_share_their_trajectory(factory):
    """Shorter runs, other ends and PTQ of the same weights; not another schedule, precision, data or quantiser."""
    names = ("main_cifar10", "ablation_full", "mobile_cifar10", "schedule_restarts_cifar10", "fp32_cifar10",
             "ptq4_cifar10", "ptq4_zero_rate_cifar10", "schedule_one_cosine_cifar10", "schedule_cycles_50_cifar10",
             "validated_main_cifar10", "main_cifar100", "bits3_cifar10")  # fmt: skip
    for name in names:
        factory.write(name, "paper")
    factory.write("main_cifar10", "paper_bf16")
    runs = load_evidence(factory.config, factory.results).runs
    of = {(row["scale"], row["experiment"]): row["trajectory"] for row in runs.to_dict("records")}
    one = [of["paper", name] for name in names]
    assert len(set(one[:4])) == len(set(one[4:7])) == 1
    assert len(set(one[3:5] + one[7:])) == 7
    assert of["paper_bf16", "main_cifar10"] not in one
