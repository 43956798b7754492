"""`python -m repro crate`, read back by the library and, where it is installed, by roc-validator."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

pytest.importorskip("rocrate", reason="pip install -e '.[crate]'")
RUNS = sorted(path.parent for path in PROJECT.glob("results/short/*/*/record.json"))


@pytest.fixture(scope="module")
def crate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("crate") / "short"
    typed = [sys.executable, "-m", "repro", "crate", "--scale", "short", str(directory)]
    done = subprocess.run(typed, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{directory}: {len(RUNS)} runs of scale short, described in ro-crate-metadata.json\n"
    return directory


def test_every_file_is_there_byte_for_byte_and_described(crate):
    from rocrate.rocrate import ROCrate

    read = ROCrate(crate)
    described = {entity.id for entity in read.data_entities}
    for run in RUNS:
        for name in ("record.json", "epochs.csv", "layers.csv"):
            place = (run / name).relative_to(PROJECT).as_posix()
            assert (crate / place).read_bytes() == (run / name).read_bytes()
            assert place in described
    assert {entity.id for entity in read.data_entities} >= {"Snakefile", "config.yaml"}
    on_disk = {path.relative_to(crate).as_posix() for path in crate.rglob("*") if path.is_file()}
    assert on_disk - described == {"ro-crate-metadata.json"}


def test_actions_say_what_made_what(crate):
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    by_id = {entity["@id"]: entity for entity in graph}
    root = by_id["./"]
    assert "https://w3id.org/ro/wfrun/workflow/0.5" in {profile["@id"] for profile in root["conformsTo"]}
    actions = [by_id[mention["@id"]] for mention in root["mentions"]]
    assert len(actions) == len(RUNS) + 1
    assert {action["@type"] for action in actions} == {"CreateAction"}
    record = json.loads(next(PROJECT.glob("results/short/ptq4_cifar10/*/record.json")).read_text())
    quantised = next(action for action in actions if action["name"] == "ptq4_cifar10, seed 0")
    assert quantised["startTime"] == record["timing"]["started_at"]
    assert any("fp32_cifar10" in given["@id"] for given in quantised["object"]), "the run whose weights it took"
    whole = by_id["#workflow"]
    assert whole["instrument"] == {"@id": "Snakefile"} == root["mainEntity"]


def test_refuses_what_it_cannot_do(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    for arguments, says in (
        ([tmp_path / "there", "--scale", "short"], "not empty"),
        ([tmp_path / "new", "--scale", "smoke", "--results", tmp_path], "no record of scale smoke"),
        ([tmp_path / "new", "--scale", "short", "--config", tmp_path / "config.yaml"], "Snakefile: not there"),
    ):
        shutil.copy(PROJECT / "config.yaml", tmp_path)
        typed = [sys.executable, "-m", "repro", "crate", *map(str, arguments)]
        done = subprocess.run(typed, cwd=PROJECT, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (1, "")
        assert says in done.stderr
        assert done.stderr.startswith("error: ")
        assert not (tmp_path / "new").exists()


def test_its_context_is_of_the_version_that_the_profiles_build_on(crate):
    about = json.loads((crate / "ro-crate-metadata.json").read_text())
    assert about["@context"] == "https://w3id.org/ro/crate/1.1/context"


@pytest.mark.skipif(shutil.which("rocrate-validator") is None, reason="needs roc-validator")
def test_valid_by_its_profile(crate, tmp_path):
    """All that the profile requires; the validator reads the context from its cache, or from the network."""
    found = tmp_path / "found.json"
    options = shlex.split(os.environ.get("ROCRATE_VALIDATOR_OPTIONS", ""))  # such as: --offline --cache-path FILE
    typed = [
        "rocrate-validator", "-y", "validate", *options, "--no-paging", "-f", "json", "-o", str(found),
        "-p", "workflow-run-crate", str(crate),
    ]  # fmt: skip
    done = subprocess.run(typed, capture_output=True, text=True, timeout=300)
    result = json.loads(found.read_text())
    said = [issue["message"] for issue in result["issues"]]
    if any("Unable to retrieve the JSON-LD context" in message for message in said):
        pytest.skip("roc-validator has no context of RO-Crate 1.1 in its cache, and no network")
    assert (done.returncode, said) == (0, []), done.stdout
    assert result["statistics"]["total_passed_checks"] == result["statistics"]["total_checks"]
