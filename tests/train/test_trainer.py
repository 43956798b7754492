"""Evaluation, arithmetic and the batches of the trainer, each seen at work."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from repro.config import Run
from repro.data import ImageData, load_dataset
from repro.train import Trainer
from repro.train.measure import layer_rows

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_dataset("digits10", train_images=300, test_images=120)


@pytest.mark.parametrize("quantizer", [{"name": "absmax", "bit_width": 4}, {"name": "none"}])
def test_evaluation_equals_a_loop_by_hand(
    digits: ImageData, tiny_run: Callable[..., Run], quantizer: dict[str, object]
) -> None:
    """No dropout, running statistics, quantised weights, no augmentation; and it changes nothing."""
    trainer = Trainer(tiny_run(quantizer=quantizer).spec, 0, digits, CPU)
    trainer.train_epoch()
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    loss, accuracy = trainer.evaluate(digits.test)
    assert all(torch.equal(before[key], value) for key, value in trainer.model.state_dict().items())

    trainer.model.eval()
    losses, hits = [], 0
    mean, std = torch.tensor(digits.mean).view(3, 1, 1), torch.tensor(digits.std).view(3, 1, 1)
    with torch.no_grad():
        for image, label in zip(digits.test.images, digits.test.labels, strict=True):  # one by one
            logits = trainer.model(((image.permute(2, 0, 1) / 255 - mean) / std)[None])
            losses.append(cross_entropy(logits, label[None]).item())
            hits += int(logits.argmax() == label)
    assert loss == pytest.approx(sum(losses) / len(losses), abs=1e-4)
    assert accuracy == hits / len(losses)
    assert trainer.evaluate(digits.test) == (loss, accuracy), "training mode would draw dropout anew"


def test_a_rate_that_captured_steps_read_outlives_a_checkpoint(digits: ImageData, tiny_run: Callable[..., Run]) -> None:
    trainer = Trainer(tiny_run().spec, 0, digits, CPU)
    state, own = copy.deepcopy(trainer.state()), torch.tensor(1.0)
    (group,) = trainer.optimizer.param_groups
    before, group["lr"] = group["lr"], own
    trainer.load_state(state)
    assert trainer.optimizer.param_groups[0]["lr"] is own
    assert float(own) == pytest.approx(before)


def test_bf16_really_computes_in_bfloat16_and_keeps_fp32_weights(
    digits: ImageData, tiny_run: Callable[..., Run]
) -> None:
    seen: dict[str, set[torch.dtype]] = {}
    weights = {}
    for precision in ("fp32", "bf16"):
        trainer = Trainer(tiny_run(precision=precision).spec, 0, digits, CPU)
        kinds = seen.setdefault(precision, set())
        for name in ("conv1", "conv4", "fc1"):
            trainer.model.get_submodule(f"layers.{name}").register_forward_hook(
                lambda module, inputs, output, kinds=kinds: kinds.add(output.dtype)
            )
        trainer.train_epoch()
        trainer.evaluate(digits.test)
        weights[precision] = trainer.model.state_dict()["layers.conv1.weight"]
    assert seen == {"fp32": {torch.float32}, "bf16": {torch.bfloat16}}
    assert weights["bf16"].dtype == torch.float32
    assert not torch.equal(weights["fp32"], weights["bf16"])


@pytest.mark.parametrize(("images", "sizes"), [(300, [128, 128, 44]), (256, [128, 128]), (257, [128, 129])])
def test_last_short_batch_is_kept_and_a_lone_image_joins_it(
    tiny_run: Callable[..., Run], images: int, sizes: list[int]
) -> None:
    data = load_dataset("digits10", train_images=images)
    trainer = Trainer(tiny_run().spec, 0, data, CPU)
    assert [end - start for start, end in trainer.batches] == sizes
    trainer.train_epoch()


def test_every_image_is_trained_on_once_an_epoch(digits: ImageData, tiny_run: Callable[..., Run]) -> None:
    labels: list[int] = []

    def keep(part: str, made: dict[str, torch.Tensor]) -> None:
        if part == "batch":
            labels.extend(made["labels"].tolist())

    Trainer(tiny_run(batch_size=64).spec, 0, digits, CPU, observer=keep).train_epoch()
    assert sorted(labels) == sorted(digits.train.labels.tolist())


def test_lost_weights_have_no_levels(digits: ImageData, tiny_run: Callable[..., Run]) -> None:
    trainer = Trainer(tiny_run().spec, 0, digits, CPU)
    with torch.no_grad():
        trainer.model.get_submodule("layers.conv1").weight[0, 0, 0, 0] = math.nan
    rows = {row["layer"]: row for row in layer_rows(trainer.model, trainer.weight_clip.moved, epoch=1)}
    assert rows["conv1"]["levels"] is None
    assert rows["conv2"]["levels"] > 1


def test_numbers_of_the_core_have_not_moved(digits: ImageData, tiny_run: Callable[..., Run]) -> None:
    """If a change to the core moves this loss on purpose, raise CORE_VERSION: old records are then stale."""
    trainer = Trainer(tiny_run(batch_size=64).spec, 0, digits, CPU)
    assert trainer.train_epoch()["train_loss"] == pytest.approx(2.6675, abs=2e-3)
