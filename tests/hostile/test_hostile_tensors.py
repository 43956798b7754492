"""Checkpoints, weights, packed files, ONNX and caches from anywhere: used as they were, or refused in one line."""

import copy
import io
import json
import pickle
import resource
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from repro.config import Config, Plan, Run
from repro.data.cache import read_cache, write_cache
from repro.data.types import Arrays, DataError, Parts
from repro.errors import ReproError
from repro.export import evaluate_file
from repro.export.onnx_export import build_onnx
from repro.export.packed import METADATA_KEY, load_packed, pack_model
from repro.records import CHECKPOINT_NAME, FORMER_CHECKPOINT_NAME, read_record
from repro.records.integrity import NO_STAMP, STAMP, DamagedError, sealed, stamped, unseal
from repro.train import Interrupted, Settings, train_run
from repro.train.assembly import make_trainer
from repro.train.checkpoint import ResumeError, load_checkpoint
from repro.train.files import dump
from repro.train.files import load as load_file
from repro.train.kept import kept_weights, load_weights
from repro.train.resume import check_state
from repro.train.trainer import Trainer
from tests.hostile.damage import damaged

SOME = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def is_one_line(error: Exception, names: object) -> None:
    """Whether a message is fit to be printed."""
    assert str(names) in str(error)
    assert str(error).isprintable(), repr(str(error))


def run_of(config: Config) -> Run:
    return Plan(config, "smoke").run("main_cifar10", 0)


@pytest.fixture(scope="module")
def results(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensors")
    train_run(run_of(config), Settings(results=folder))
    return folder


@pytest.fixture(scope="module")
def stopped(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    steps = iter(range(1, 10**9))
    with pytest.raises(Interrupted):
        train_run(run_of(config), Settings(results=folder, stop=lambda: next(steps) >= 5, checkpoint_seconds=0))
    return run_of(config).directory(folder)


@pytest.fixture(scope="module")
def trainer(config: Config, stopped: Path) -> Trainer:
    return make_trainer(run_of(config), Settings(results=stopped))[0]


@pytest.fixture
def only(stopped: Path, tmp_path: Path) -> Path:
    """A folder with the checkpoint and nothing to go back to."""
    (tmp_path / CHECKPOINT_NAME).write_bytes((stopped / CHECKPOINT_NAME).read_bytes())
    return tmp_path


def content_of(folder: Path) -> Any:
    return load_file(folder / CHECKPOINT_NAME)


def test_the_checkpoint_itself_is_taken(only: Path, trainer: Trainer) -> None:
    """Sealed, and as it was written before there were seals."""
    path, check = only / CHECKPOINT_NAME, partial(check_state, trainer=trainer)
    assert len(load_checkpoint(only, {}, check).epochs) == 2
    path.write_bytes(unseal(path.read_bytes())[0])
    assert len(load_checkpoint(only, {}, check).epochs) == 2
    torch.save(content_of(only), path)
    assert len(load_checkpoint(only, {}, check).epochs) == 2


WRONG_STATES = {
    "epochs_done 99": lambda c: c["trainer"].update(epochs_done=99),
    "epochs_done -1": lambda c: c["trainer"].update(epochs_done=-1),
    "steps_done 10": lambda c: c["trainer"].update(steps_done=10**6),
    "an epoch is missing": lambda c: c["epochs"].pop(0),
    "a layer is missing": lambda c: c["layers"].pop(),
    "an accuracy is text": lambda c: c["epochs"][0].update(test_accuracy="0.9"),
    "a weight is NaN": lambda c: c["trainer"]["model"]["layers.conv1.weight"][0].fill_(float("nan")),
    "a moment is infinite": lambda c: c["trainer"]["optimizer"]["state"][0]["exp_avg"][0].fill_(float("inf")),
    "a moment of another shape": lambda c: c["trainer"]["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)),
    "another decay": lambda c: c["trainer"]["optimizer"]["param_groups"][0].update(weight_decay=0.3),
    "no moment": lambda c: c["trainer"]["optimizer"]["state"][0].pop("exp_avg"),
    "a weight of another type": lambda c: c["trainer"]["model"].update({"layers.conv1.bias": torch.zeros(8).half()}),
    "a generator of 3 bytes": lambda c: c["trainer"].update(generator=torch.zeros(3, dtype=torch.uint8)),
    "hours below zero": lambda c: c.update(wall_seconds=-1.0),
    "hours without end": lambda c: c.update(wall_seconds=1e300),
    "a start of no zone": lambda c: c.update(started_at="2026-01-01T00:00:00"),
    "a start at the end of time": lambda c: c.update(started_at="9999-12-31T23:59:59+00:00"),
    "no start": lambda c: c.update(started_at="yesterday"),
    "a field of a newer version": lambda c: c.update(colour=3),
    "no trainer": lambda c: c.update(trainer={}),
}


@pytest.mark.parametrize("name", WRONG_STATES)
@pytest.mark.parametrize("seal", [True, False])
def test_right_types_and_wrong_values_are_refused(only: Path, trainer: Trainer, name: str, seal: bool) -> None:
    content, path = content_of(only), only / CHECKPOINT_NAME
    WRONG_STATES[name](content)
    path.write_bytes(dump(content) if seal else unseal(dump(content))[0])
    with pytest.raises(ResumeError, match="delete it to start over") as error:
        load_checkpoint(only, {}, partial(check_state, trainer=trainer))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@SOME
@given(data=st.data())
def test_any_value_in_a_checkpoint(data: st.DataObject, stopped: Path, tmp_path: Path, trainer: Trainer) -> None:
    content = data.draw(damaged(content_of(stopped)))
    try:
        (tmp_path / CHECKPOINT_NAME).write_bytes(dump(content))
    except (TypeError, UnicodeEncodeError):
        return  # no file can hold it
    check = partial(check_state, trainer=trainer)
    try:
        checkpoint = load_checkpoint(tmp_path, {}, check)
    except ResumeError as error:
        is_one_line(error, tmp_path)
        return
    before = copy.deepcopy(trainer.state())
    trainer.load_state(checkpoint.trainer)  # what is taken can be gone on from
    trainer.load_state(before)


@SOME
@given(content=st.binary(max_size=300))
def test_any_bytes_for_a_checkpoint(content: bytes, tmp_path: Path, trainer: Trainer) -> None:
    (tmp_path / CHECKPOINT_NAME).write_bytes(content)
    with pytest.raises(ResumeError, match=r"checkpoint\.pt: "):
        load_checkpoint(tmp_path, {}, partial(check_state, trainer=trainer))


def test_a_damaged_checkpoint_goes_back_to_the_one_before(
    stopped: Path, results: Path, config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on from there, says so, and ends with the weights of an undisturbed one."""
    run = run_of(config)
    folder = run.directory(tmp_path)
    folder.mkdir(parents=True)
    for name in (CHECKPOINT_NAME, FORMER_CHECKPOINT_NAME):
        (folder / name).write_bytes((stopped / name).read_bytes())
    content = bytearray((folder / CHECKPOINT_NAME).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / CHECKPOINT_NAME).write_bytes(content)
    record = train_run(run, Settings(results=tmp_path))
    assert (
        "checkpoint.pt: damaged: its checksum is not that of its content. Going on from the one before" in caplog.text
    )
    assert record.summary == read_record(run.record_path(results)).summary
    assert not list(folder.glob("checkpoint*"))


class Bomb:
    """Unpickled, it is what it is reduced to."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.reduced = (call, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


def archive(pickled: bytes, **parts: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in {"data.pkl": pickled, "version": b"3\n", "byteorder": b"little", **parts}.items():
            file.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def compressed() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\0" * 10**8)
    return buffer.getvalue()


def expanded() -> bytes:
    buffer = io.BytesIO()
    torch.save({"layers.conv1.weight": torch.zeros(1).expand(10**12)}, buffer)
    return buffer.getvalue()


def endless() -> bytes:
    itself: list[Any] = []
    itself.append(itself)
    buffer = io.BytesIO()
    torch.save({"x": itself}, buffer)
    return buffer.getvalue()


BOMBS = {
    "a bytearray of a terabyte": lambda: archive(pickle.dumps(Bomb(bytearray, 10**12), 2)),
    "a call of the system": lambda: archive(pickle.dumps(Bomb(print, "owned"), 2)),
    "a zip bomb": compressed,
    "a tensor of 4 TB from 4 bytes": expanded,
    "a list that holds itself": endless,
    "nested too deep": lambda: archive(pickle.dumps([], 2)[:-1] + b"\x85" * 100_000 + b"."),
    "an empty file": lambda: b"",
    "a zip of nothing": lambda: b"PK\5\6" + b"\0" * 18,
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_allocate_or_run_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(BOMBS[name]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedError):
        load_weights(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize("special", ["folder", "pipe"])
def test_no_regular_file_is_no_weights(special: str, results: Path, config: Config, tmp_path: Path) -> None:
    import os

    path = tmp_path / "weights.pt"
    path.mkdir() if special == "folder" else os.mkfifo(path)
    with pytest.raises(DamagedError, match="cannot be read"):
        load_file(path)


def test_weights_that_are_not_the_records_are_refused(results: Path, config: Config) -> None:
    run = run_of(config)
    path = run.weights_path(results)
    content = path.read_bytes()
    other = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()}
    try:
        path.write_bytes(dump(other))
        with pytest.raises(ReproError, match="not the weights of the record beside it"):
            kept_weights(run, results)
        path.write_bytes(dump([1, 2]))
        with pytest.raises(ReproError, match="it holds no weights; delete it"):
            kept_weights(run, results)
    finally:
        path.write_bytes(content)
    assert kept_weights(run, results).keys() == other.keys()


@SOME
@given(content=st.binary(max_size=300), seal=st.booleans())
def test_any_bytes_for_weights(content: bytes, seal: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(sealed(content) if seal else content)
    with pytest.raises(DamagedError):
        load_weights(path)


@SOME
@given(data=st.data())
def test_any_value_in_weights(data: st.DataObject, results: Path, config: Config) -> None:
    """With a valid seal: as hostile as can be. What is taken is what the record names."""
    run = run_of(config)
    path = run.weights_path(results)
    content = path.read_bytes()
    try:
        path.write_bytes(dump(data.draw(damaged(dict(load_file(path))))))
        with pytest.raises(ReproError) as error:
            kept_weights(run, results)
        is_one_line(error.value, path)
    except (TypeError, UnicodeEncodeError):
        return  # no file can hold it
    finally:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def packed(results: Path, config: Config) -> bytes:
    run = run_of(config)
    model = make_trainer(run, Settings(results=results))[0].model
    model.load_state_dict(kept_weights(run, results))
    return pack_model(model.eval(), vars(read_record(run.record_path(results))))


def repacked(content: bytes, metadata: Any) -> bytes:
    """The same tensors with other metadata and a valid checksum: as hostile as can be."""
    metadata = {**metadata, "stamp": NO_STAMP} if isinstance(metadata, dict) and "stamp" in metadata else metadata
    text = json.dumps(metadata)
    saved = save(load(content), {METADATA_KEY: text})
    return stamped(saved) if text.count(NO_STAMP) == 1 else saved


def metadata_of(content: bytes) -> Any:
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"][METADATA_KEY])


@SOME
@given(data=st.data())
def test_any_metadata_in_a_packed_file(data: st.DataObject, packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    try:
        path.write_bytes(repacked(packed, data.draw(damaged(metadata_of(packed)))))
    except UnicodeEncodeError:
        return
    for read in (load_packed, evaluate_file):
        try:
            read(path)
        except ReproError as error:
            is_one_line(error, "data set" if "data set" in str(error) else path)


@SOME
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".safetensors", ".onnx"]))
def test_any_bytes_for_an_exported_file(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(ReproError, match=str(path)):
        evaluate_file(path)


@pytest.fixture(scope="module")
def graph(results: Path, config: Config, packed: bytes, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("onnx") / "model.safetensors"
    path.write_bytes(packed)
    found = load_packed(path)
    return build_onnx(found.model, found.record)


def restamped(model: onnx.ModelProto) -> bytes:
    for each in model.metadata_props:
        each.value = json.dumps({**json.loads(each.value), "stamp": NO_STAMP})
    return stamped(model.SerializeToString(deterministic=True))


def huge_padding(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Conv").attribute.append(
        onnx.helper.make_attribute("pads", [10**6] * 4)
    )


def a_loop(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("Loop", [], ["x"]))


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")


def a_field(model: onnx.ModelProto) -> None:
    metadata = json.loads(model.metadata_props[0].value)
    metadata["record"]["environment"]["device"] = "\x1b[31mred"
    model.metadata_props[0].value = json.dumps(metadata)


@pytest.mark.parametrize("change", [huge_padding, a_loop, outside, a_field])
def test_a_graph_that_is_not_ours_is_refused(change: Any, graph: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph)
    assert evaluate_file(path).images
    model = onnx.load_model_from_string(graph)
    change(model)
    path.write_bytes(restamped(model))
    with pytest.raises(ReproError, match=str(path)) as error:
        evaluate_file(path)
    assert "\x1b" not in str(error.value)


@SOME
@given(data=st.data())
def test_any_bytes_in_a_graph(data: st.DataObject, graph: bytes, tmp_path: Path) -> None:
    """In place of some of its own, from before there were stamps: it is evaluated, or refused by name."""
    model = onnx.load_model_from_string(graph)
    for each in model.metadata_props:
        each.value = json.dumps({key: value for key, value in json.loads(each.value).items() if key != "stamp"})
    content = bytearray(model.SerializeToString(deterministic=True))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=12))
        content[place : place + len(piece)] = piece
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    try:
        evaluate_file(path)
    except ReproError as error:
        is_one_line(error, "data set" if "data set" in str(error) else path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_a_flipped_bit_in_a_graph_is_refused(share: float, graph: bytes, tmp_path: Path) -> None:
    content = bytearray(graph)
    content[int(share * len(content))] ^= 2
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ReproError, match=str(path)):
        evaluate_file(path)
    assert STAMP.encode() in graph


def arrays(count: int) -> Arrays:
    return Arrays(np.zeros((count, 32, 32, 3), np.uint8), np.zeros(count, np.int64))


@SOME
@given(content=st.binary(max_size=300))
def test_any_bytes_for_a_cache(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cifar10.npz").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_cache(tmp_path / "cifar10.npz")


def test_a_cache_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cifar10.npz"
    write_cache(path, Parts(arrays(4), arrays(2)))
    assert len(read_cache(path).train.labels) == 4
    path.write_bytes(path.read_bytes().replace(b"(4, 32, 32, 3), ", b"(4, 99999999,3),"))
    with pytest.raises(DataError, match="damaged"):
        read_cache(path)
    np.savez_compressed(path, train_images=np.zeros(10**7, np.uint8))
    with pytest.raises(DataError, match="damaged"):
        read_cache(path)
