"""A data set of a size of its own, from outside the package: its shape reaches model, record, files and probe."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from repro.config import Config, Run, resolve_spec
from repro.config.options import Method
from repro.config.registry import DATASETS, MODELS, Dataset
from repro.data import load_dataset
from repro.data.types import Arrays, FullSet, Parts, channel_statistics, fingerprint
from repro.export import evaluate_file, export_run, load_packed
from repro.records import read_record
from repro.train import Settings, train_run
from repro.train.probe import probe_rates

MakeRun = Callable[..., Run]
CLASSES, CHANNELS, HEIGHT, WIDTH = 5, 2, 13, 10


def load_odd(directory: Path, download: bool) -> FullSet:
    """Five classes, told apart by where a bright stripe lies; 2 channels, 13 x 10 pixels."""

    def split(count: int, seed: int) -> Arrays:
        generator = np.random.default_rng(seed)
        labels = (np.arange(count) * CLASSES // count).astype(np.int64)
        images = generator.integers(0, 80, (count, HEIGHT, WIDTH, CHANNELS), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 2 * label : 2 * label + 2] += 150
        return Arrays(images, labels)

    parts = Parts(split(200, 0), split(60, 1))
    mean, std = channel_statistics(parts.train.images)
    return FullSet(CLASSES, parts, mean, std, flip=False, crop_padding=0, fingerprint=fingerprint(parts))


@pytest.fixture(autouse=True)
def odd(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Dataset(load_odd, train_images=200, test_images=60, classes=CLASSES, image_shape=(CHANNELS, HEIGHT, WIDTH))
    monkeypatch.setitem(DATASETS, "odd", entry)


def test_the_object_says_it_all() -> None:
    data = load_dataset("odd", validation_fraction=0.1)
    assert (data.image_shape, data.classes) == (DATASETS["odd"].image_shape, DATASETS["odd"].classes)
    assert len(data.mean) == len(data.std) == CHANNELS


@pytest.mark.parametrize("model", MODELS)
def test_trained_recorded_packed_written_as_onnx_and_timed(tmp_path: Path, tiny_run: MakeRun, model: str) -> None:
    options = {key: value for key, value in {"width": 0.125, "dropout": 0.0}.items() if key in MODELS[model].options}
    dataset = {"name": "odd", "train_images": None, "test_images": None, "validation_fraction": 0.0}
    run = tiny_run(dataset=dataset, model={"name": model, **options}, epochs=3, batch_size=20)
    train_run(run, Settings(results=tmp_path))
    record = read_record(run.record_path(tmp_path))
    assert record.data["image_shape"] == [CHANNELS, HEIGHT, WIDTH]
    assert record.layers[0]["shape"][1] == CHANNELS
    assert len({layer["name"] for layer in record.layers}) == len(record.layers)
    if model not in ("resnet20", "vit_tiny"):  # which a few steps do not train at an eighth of their width
        assert record.summary["best_test_accuracy"] > 0.5
    held = model != "vit_tiny"  # by the ONNX graph
    export = export_run(run, tmp_path, onnx=held)
    assert export.packed["logit_difference"] == 0
    if held:
        assert export.onnx is not None
        assert export.onnx["logit_difference"] < 1e-4
        assert export.latency is not None
    packed = run.directory(tmp_path) / "model.safetensors"
    assert "record: the same" in evaluate_file(packed).describe()
    assert load_packed(packed).model(torch.zeros(1, CHANNELS, HEIGHT, WIDTH)).shape == (1, CLASSES)
    assert probe_rates(run.spec, threads=1)["train"] > 0


def test_a_scales_width_goes_to_the_models_that_have_one(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "of_one_size", Method(nn.Identity))
    main, smoke = config.experiments["main_cifar10"], config.scales["smoke"]
    models = [{"name": "of_one_size"}, {"name": "resnet20", "width": 1.0}]
    resolved = [resolve_spec(replace(main, settings={**main.settings, "model": m}), smoke)["model"] for m in models]
    assert resolved == [{"name": "of_one_size"}, {"name": "resnet20", "width": smoke.width}]
