"""Records and their tables from anywhere: each is used, or is one line that names the file; all else is shown."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.analysis.rows import load_run
from repro.check import check_run
from repro.config import Config, Plan
from repro.config.runs import RECORD_NAME
from repro.costs import mean_rates, scale_costs
from repro.records import EXPORT_NAME, RecordError, find_records, read_record
from repro.records.integrity import sealed
from repro.records.record import COPY_NAME, MOST_BYTES
from repro.records.sharpness import RADIUS, SHARPNESS_NAME, Sharpness, write_sharpness
from repro.status import UNREADABLE, scale_status
from repro.tracking.content import read_mirror
from tests.hostile.damage import damaged
from tests.report.report_factory import RecordFactory

SOME = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def results(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records") / "results"
    factory = RecordFactory(config, folder)
    for name in ("main_cifar10", "fp32_cifar10", "ptq4_cifar10"):
        directory = factory.write(name, "smoke")
        factory.export(directory)
        made = read_record(directory / RECORD_NAME)
        moved = {str(RADIUS): {"train_loss": [0.3, 0.4], "test_loss": [0.5, 0.6]}}
        about = {"weights": "last", "images": {"train": 10, "test": 10}, "train_loss": 0.1, "test_loss": 0.2}
        write_sharpness(directory, Sharpness(made.spec_hash, made.seed, **about, moved=moved, environment={}))
    return folder


@pytest.fixture(scope="module")
def record(results: Path) -> Path:
    return next(path for path in find_records(results) if "main_cifar10/" in str(path))


@pytest.fixture(scope="module")
def whole(record: Path) -> Iterator[bytes]:
    content = record.read_bytes()
    yield content
    record.write_bytes(content)


def check_readers(record: Path, results: Path, plan: Plan) -> None:
    """Every reader gives the run or one line that names its folder."""
    readers: list[Callable[[], object]] = [
        lambda: read_record(record), lambda: load_run(record, results), lambda: read_mirror(record),
    ]  # fmt: skip
    for read in readers:
        try:
            read()
        except RecordError as error:
            line = str(error)
            assert str(record.parent) in line
            assert line.replace("\u00a0", " ").isprintable(), repr(line)
            assert len(line) < 2000
    states = scale_status(plan, results)
    assert len(states) == len(list(plan))
    scale_costs(plan, results, lambda run: {"train": 1.0, "evaluate": 1.0})
    mean_rates(plan, results)


@SOME
@given(data=st.data())
def test_any_value_in_a_record(data: st.DataObject, whole: bytes, record: Path, results: Path, config: Config) -> None:
    content = json.dumps(data.draw(damaged(json.loads(whole))))
    record.write_text(content)
    check_readers(record, results, Plan(config, "smoke"))


@SOME
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=50).map(lambda text: text.encode("utf-8", "replace")))
)
def test_any_bytes_for_a_record(content: bytes, whole: bytes, record: Path, results: Path, config: Config) -> None:
    record.write_bytes(content)
    with pytest.raises(RecordError):
        read_record(record)
    check_readers(record, results, Plan(config, "smoke"))


@contextmanager
def put_back(path: Path) -> Iterator[bytes]:
    """A file's content, which it has again in the end."""
    content = path.read_bytes()
    try:
        yield content
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, '"\\ud800"', "NaN", '{"seed": 1e999}']
)
def test_json_that_tires_its_reader(content: str, whole: bytes, record: Path, results: Path, config: Config) -> None:
    record.write_text(content)
    check_readers(record, results, Plan(config, "smoke"))


@SOME
@given(data=st.data(), name=st.sampled_from(["epochs.csv", "layers.csv"]))
def test_any_cells_in_a_table(
    data: st.DataObject, name: str, whole: bytes, record: Path, results: Path, config: Config
) -> None:
    record.write_bytes(whole)
    path = record.with_name(name)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    cells = data.draw(damaged(rows))
    text = "\n".join(",".join(map(str, row)) if isinstance(row, list) else str(row) for row in cells)
    with put_back(path):
        path.write_bytes(
            data.draw(st.sampled_from([text.encode("utf-8", "replace"), text.encode("utf-8", "replace")[:-9]]))
        )
        check_readers(record, results, Plan(config, "smoke"))


@pytest.mark.parametrize("name", ["record.json", "epochs.csv", "layers.csv", EXPORT_NAME, SHARPNESS_NAME])
@pytest.mark.parametrize("kind", ["folder", "pipe", "endless"])
def test_no_regular_file_in_place_of_one(
    name: str, kind: str, whole: bytes, record: Path, results: Path, config: Config
) -> None:
    record.write_bytes(whole)
    path, kept = record.with_name(name), record.with_name("kept")
    path.rename(kept)
    try:
        match kind:
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case _:
                path.symlink_to("/dev/zero")
        check_readers(record, results, Plan(config, "smoke"))
        check_run(record.parent, config)
    finally:
        path.rmdir() if kind == "folder" else path.unlink()
        kept.rename(path)


@SOME
@given(data=st.data(), name=st.sampled_from([EXPORT_NAME, SHARPNESS_NAME]))
def test_any_value_in_what_lies_beside_a_record(
    data: st.DataObject, name: str, whole: bytes, record: Path, results: Path, config: Config
) -> None:
    record.write_bytes(whole)
    with put_back(record.with_name(name)) as content:
        record.with_name(name).write_text(json.dumps(data.draw(damaged(json.loads(content)))))
        check_readers(record, results, Plan(config, "smoke"))
        check_run(record.parent, config)


def test_a_huge_record_is_refused_by_its_size(whole: bytes, record: Path, results: Path) -> None:
    with record.open("wb") as file:
        file.truncate(200_000_000)
    start = time.monotonic()
    with pytest.raises(RecordError, match="200 MB, and such a file has at most"):
        load_run(record, results)
    assert time.monotonic() - start < 0.5
    assert MOST_BYTES < 200_000_000


def test_a_damaged_copy_restores_nothing(tmp_path: Path, whole: bytes, record: Path) -> None:
    from repro.records import restore_record

    shutil.copytree(record.parent, tmp_path / "run")
    (tmp_path / "run" / "record.json").unlink()
    content = bytearray(sealed(whole))
    content[whole.index(b'"final_test_accuracy": 0.') + 26] ^= 1
    (tmp_path / "run" / COPY_NAME).write_bytes(content)
    with pytest.raises(RecordError, match="checksum"):
        restore_record(tmp_path / "run")
    assert not (tmp_path / "run" / "record.json").exists()
    (tmp_path / "run" / COPY_NAME).write_bytes(whole)  # from before there were seals
    assert restore_record(tmp_path / "run")
    assert (tmp_path / "run" / "record.json").read_bytes() == whole


DAMAGES: dict[str, Callable[[dict], object]] = {
    "no environment": lambda raw: raw.pop("environment"),
    "text for a number": lambda raw: raw["summary"].update(epochs_run="two"),
    "zero bytes": lambda raw: raw["size"].update(paper_bytes=0),
    "a time of no calendar": lambda raw: raw["timing"].update(started_at="2026-15-01T00:00:00+00:00"),
    "a name that is HTML": lambda raw: raw["data"].update(name="<script>alert(2)</script>"),
    "an accuracy of 3": lambda raw: raw["summary"].update(best_test_accuracy=3),
    "no mapping": lambda raw: raw.update(data=[]),
    "an escape": lambda raw: raw["environment"].update(device_name="\x1b]0;owned\x07"),
    "a layer of no shape": lambda raw: raw.update(layers=[{"name": "conv1", "histogram": 3}]),
}


def test_the_commands_show_everything_else(tmp_path: Path, config: Config) -> None:
    """As typed: eight records damaged in eight ways, and one that would be HTML."""
    factory = RecordFactory(config, tmp_path / "results")
    factory.write_all("smoke")
    shutil.copy(PROJECT / "config.yaml", tmp_path)
    paths = find_records(tmp_path / "results")
    for path, damage in zip(paths, DAMAGES.values(), strict=False):
        raw = json.loads(path.read_text())
        damage(raw)
        path.write_text(json.dumps(raw))
    html = json.loads(paths[-1].read_text())
    html["environment"].update(device_name="<script>alert(1)</script>", processor="<b>|chip</b>")
    paths[-1].write_text(json.dumps(html))
    outputs = {}
    for command in (["status", "--scale", "smoke"], ["report"], ["claims"], ["plan", "--scale", "smoke"]):
        done = subprocess.run([sys.executable, "-m", "repro", *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        outputs[command[0]] = done
    assert outputs["status"].stdout.count(UNREADABLE) == len(DAMAGES) + 1  # and in the line that counts
    assert outputs["status"].stderr.count("record.json") == len(DAMAGES)
    page, markdown = ((tmp_path / "report" / name).read_text() for name in ("index.html", "report.md"))
    listed = (tmp_path / "report" / "tables" / "unreadable.csv").read_text()
    assert len(listed.splitlines()) == 1 + len(DAMAGES)
    for text in (page, markdown):
        assert "<script>alert" not in text
        assert "<b>|chip" not in text
        assert "\x1b" not in text


def test_folders_of_any_name(tmp_path: Path, config: Config) -> None:
    """Not even text in UTF-8: the record is shown, the name spelt out, and MLflow gets no experiment of it."""
    factory = RecordFactory(config, tmp_path / "results")
    directory = factory.write("main_cifar10", "smoke")
    shutil.copy(PROJECT / "config.yaml", tmp_path)
    directory.parent.rename(directory.parent.with_name(os.fsdecode(b"a\x1b[31mb\xff")))
    (tmp_path / "results" / "x'; drop" / "y\x1b[2J" / "seed0-0123abcd").mkdir(parents=True)
    for command in (["status", "--scale", "smoke"], ["report"], ["compare", "main_cifar10", "fp32_cifar10"],
                    ["check", "results"], ["clean"], ["track"]):  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "repro", *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == (1 if command[0] in ("compare", "check") else 0), done.stderr
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
    assert "drop" not in done.stdout
