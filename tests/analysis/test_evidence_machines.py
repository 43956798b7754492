import json
import shutil

import pytest

from repro.analysis import load_evidence


def load(factory):
    return load_evidence(factory.config, factory.results)


def edit(folder, **parts):
    path = folder / "record.json"
    record = json.loads(path.read_text())
    for part, change in parts.items():
        record[part] = record[part] | change if isinstance(change, dict) else change
    path.write_text(json.dumps(record))


def copy_to_a_phone(factory, folder):
    phone = factory.results / "quick" / "from_a_phone" / folder.name
    shutil.copytree(folder, phone)
    edit(phone, environment={"architecture": "aarch64", "processor": "a phone"})
    return phone


def test_a_run_repeated_on_another_machine_is_kept_apart(factory):
    home = factory.write("mobile_cifar10")
    copy_to_a_phone(factory, home)
    evidence = load(factory)
    assert len(evidence.select("quick", "mobile_cifar10")) == 1
    assert evidence.repeats["platform"].tolist() == ["aarch64 · a phone"]
    assert len(evidence.repeat_epochs) == 6
    assert set(evidence.repeat_epochs["path"]) == {f"quick/from_a_phone/{home.name}"}
    assert evidence.stale.empty, "it stands in the table of machines"


def test_a_third_copy_of_the_same_machine_is_no_repeat(factory):
    home = factory.write("mobile_cifar10")
    phone = copy_to_a_phone(factory, home)
    shutil.copytree(phone, factory.results / "quick" / "once_more" / home.name)
    evidence = load(factory)
    assert len(evidence.repeats) == 1
    assert "second record" in " ".join(evidence.stale["reason"])


@pytest.mark.parametrize(
    ("environment", "platform"),
    [
        ({}, "a CPU"),
        ({"architecture": "aarch64", "processor": "Snapdragon"}, "aarch64 · Snapdragon"),
        ({"architecture": "x86_64", "device": "cuda", "device_name": "H100"}, "x86_64 · H100 (cuda)"),
    ],
)
def test_the_platform_names_what_the_arithmetic_ran_on(factory, environment, platform):
    edit(factory.write("main_cifar10"), environment=environment)
    assert set(load(factory).runs["platform"]) == {platform}


def test_runs_that_differ_in_their_quantiser_alone_share_a_recipe(factory):
    for name in ("main_cifar10", "fp32_cifar10", "fp32_plain_cifar10"):
        factory.write(name)
    runs = load(factory).runs.drop_duplicates("path").set_index("experiment")
    assert runs.loc["main_cifar10", "recipe"] == runs.loc["fp32_cifar10", "recipe"]
    assert runs.loc["main_cifar10", "recipe"] != runs.loc["fp32_plain_cifar10", "recipe"]
    assert (runs.loc["main_cifar10", "quantizer"], runs.loc["fp32_cifar10", "quantizer"]) == ("absmax", "none")
    assert runs.loc["main_cifar10", "bit_width"] == 4


def test_quantised_activations_are_another_recipe_and_ptq_another_quantiser(factory):
    plain = factory.write("fp32_cifar10")
    edit(plain, spec={"ptq": {"name": "mse", "bit_width": 3}})
    edit(
        factory.write("main_cifar10"),
        spec={"activation_quantizer": {"name": "lsq", "bit_width": 4}},
    )
    factory.write("main_cifar10", seed=1)
    runs = load(factory).runs.drop_duplicates("path").set_index(["experiment", "seed"])
    assert runs.loc[("fp32_cifar10", 0), ["quantizer", "bit_width"]].tolist() == ["PTQ mse", 3]
    assert runs.loc[("fp32_cifar10", 0), "recipe"] == runs.loc[("main_cifar10", 1), "recipe"]
    assert runs.loc[("main_cifar10", 0), "recipe"] != runs.loc[("main_cifar10", 1), "recipe"]


def test_bits_and_last_levels_are_read_from_sizes_and_layers(factory):
    factory.write("main_cifar10")
    factory.write("fp32_cifar10")
    runs = load(factory).runs.drop_duplicates("path").set_index("experiment")
    names = ["weight_bits", "final_levels_min", "final_levels_max"]
    assert runs.loc["main_cifar10", names].tolist() == [4, 13, 15]
    assert runs.loc["fp32_cifar10", "weight_bits"] == 32
    assert runs.loc["fp32_cifar10", names[1:]].isna().all()


def test_a_run_from_another_machine_alone_needs_no_folder_of_its_experiments_name(factory):
    home = factory.write("mobile_cifar10", "paper")
    phone = factory.results / "paper" / "oneplus" / home.name
    phone.parent.mkdir()
    home.rename(phone)
    edit(phone, environment={"architecture": "aarch64", "processor": "OnePlus LE2101, 4 x Cortex-A55"})
    runs = load(factory).select("paper", "mobile_cifar10")
    assert runs["platform"].tolist() == ["aarch64 · OnePlus LE2101, 4 x Cortex-A55"]


def test_histograms_are_rows_of_the_weights(factory):
    layer = {"name": "conv1", "max_abs_weight": 0.5, "histogram": {"edges": [-0.5, 0, 0.5], "counts": [3, 1]}}
    lost = {"name": "fc2", "max_abs_weight": None, "histogram": {"edges": [], "counts": []}}  # a diverged run's
    edit(factory.write("main_cifar100"), layers=[layer, lost])
    weights = load(factory).weights
    assert weights.loc[weights["experiment"] == "main_cifar100", "layer"].tolist() == ["conv1"]


def test_a_histogram_that_does_not_fit_makes_the_record_unreadable(factory):
    layer = {"name": "conv1", "max_abs_weight": 0.5, "histogram": {"edges": [-0.5, 0.5], "counts": [3, 1]}}
    edit(factory.write("main_cifar10"), layers=[layer])
    assert "one edge more" in load(factory).unreadable["error"].iloc[0]
