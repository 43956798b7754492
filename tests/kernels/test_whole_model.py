"""Training with the kernels and without: the same step, the same course, the same state."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from repro.config import Run
from repro.config.registry import QUANTIZERS
from repro.data import ImageData, load_dataset
from repro.train import Trainer
from tests.conftest import example_options

pytestmark = pytest.mark.usefixtures("kernels", "one_thread")
CPU = torch.device("cpu")
MakeRun = Callable[..., Run]
ByTorch = Callable[[Callable[[], object]], object]


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_dataset("digits10", train_images=320, test_images=64)


def steps_of(trainer: Trainer, steps: int) -> list[float]:
    """The loss of each of the next steps, over as many epochs as they take."""
    losses, before = [], 0.0
    for _ in range(steps):
        if trainer.steps_done == 0:
            trainer.start_epoch()
            before = 0.0
        trainer.train_step()
        total = trainer._sums["loss"].item()
        start, end = trainer.batches[trainer.steps_done - 1]
        losses.append((total - before) / (end - start))
        before = total
        if trainer.steps_done == len(trainer.batches):
            trainer.finish_epoch()
    return losses


def test_one_fp32_step_is_no_further_from_float64_than_torchs(
    digits: ImageData, tiny_run: MakeRun, by_torch: ByTorch
) -> None:
    """Loss to 1e-5; each gradient to 1e-5 of float64's, or as near as torch's own FP32 operators come.

    They sum a channel's 65,536 values in FP32 and are up to 5e-3 off. Where values tie, either may take the gradient.
    """
    spec = tiny_run(batch_size=64, gradient_clip=None).spec

    def stepped(dtype: torch.dtype = torch.float32) -> tuple[float, dict[str, torch.Tensor]]:
        trainer = Trainer(spec, 0, digits, CPU)
        trainer.start_epoch()
        if dtype == torch.float32:
            trainer.train_step()
            loss = trainer._sums["loss"].item() / 64
        else:
            images, labels = trainer._batch(torch.arange(64))
            mean = nn.functional.cross_entropy(trainer.model.double()(images.double()), labels)
            mean.backward()
            loss = mean.item()
        return loss, {name: p.grad.double() for name, p in trainer.model.named_parameters()}

    def error(gradient: torch.Tensor, reference: torch.Tensor) -> float:
        return ((gradient - reference).norm() / reference.norm()).item()

    (our_loss, ours), (their_loss, theirs), (loss, exact) = stepped(), by_torch(stepped), stepped(torch.float64)
    assert our_loss == pytest.approx(their_loss, rel=1e-5)
    assert our_loss == pytest.approx(loss, rel=1e-6)
    compared = [name for name, gradient in exact.items() if gradient.norm() > 1e-9]  # not biases before a batch norm
    assert len(compared) == 23
    for name in compared:
        assert error(ours[name], exact[name]) <= max(1e-5, 1.2 * error(theirs[name], exact[name])), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_hundred_steps_stay_inside_torchs_own_noise(
    precision: str, digits: ImageData, tiny_run: MakeRun, by_torch: ByTorch
) -> None:
    """Noise: what weights that differ in their last bit make of torch's own steps."""

    def losses(noise: int = 0) -> torch.Tensor:
        trainer = Trainer(tiny_run(batch_size=16, precision=precision).spec, 0, digits, CPU)
        if noise:
            generator = torch.Generator().manual_seed(noise)
            with torch.no_grad():
                for parameter in trainer.model.parameters():
                    parameter.mul_(1 + 2**-23 * torch.randn(parameter.shape, generator=generator))
        return torch.tensor(steps_of(trainer, 100))

    ours, theirs = losses(), by_torch(losses)
    noise = max((by_torch(lambda n=n: losses(n)) - theirs).abs().mean().item() for n in (1, 2))
    assert theirs[-10:].mean() < theirs[:10].mean()
    assert (ours - theirs).abs().mean().item() <= 3 * noise


def test_a_run_goes_on_with_the_other_kernels(digits: ImageData, tiny_run: MakeRun, by_torch: ByTorch) -> None:
    """In mid-epoch; the loss at the resumed step is the state's, so it is the same to rounding."""

    def after(state: dict[str, object] | None) -> tuple[dict[str, object], list[float]]:
        trainer = Trainer(tiny_run(batch_size=64).spec, 0, digits, CPU)
        if state is None:
            steps_of(trainer, 2)
            return copy.deepcopy(trainer.state()), []
        trainer.load_state(copy.deepcopy(state))
        trainer.start_epoch()
        for _ in range(3):
            trainer.train_step()
        return trainer.state(), [trainer._sums["loss"].item()]

    for state in (after(None)[0], by_torch(lambda: after(None)[0])):
        (fused, ours), (plain, theirs) = after(state), by_torch(lambda state=state: after(state))
        assert ours == pytest.approx(theirs, rel=1e-2)
        assert fused["steps_done"] == plain["steps_done"] == 5
        assert fused["model"].keys() == plain["model"].keys()
        for one, two in zip(fused["optimizer"]["state"].values(), plain["optimizer"]["state"].values(), strict=True):
            assert one.keys() == two.keys()
            assert one["step"] == two["step"] == 5
            assert one["exp_avg"].stride() == two["exp_avg"].stride()


def test_threads(digits: ImageData, tiny_run: MakeRun) -> None:
    losses = []
    for threads in (1, 1, 2, 2):
        torch.set_num_threads(threads)
        losses.append(torch.tensor(steps_of(Trainer(tiny_run(batch_size=64).spec, 0, digits, CPU), 4)))
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[2], losses[3])
    assert torch.allclose(losses[0], losses[2], rtol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("quantizer", [*QUANTIZERS, "none"])
def test_every_quantiser_with_both(
    quantizer: str, precision: str, digits: ImageData, tiny_run: MakeRun, by_torch: ByTorch
) -> None:
    options = {"name": quantizer, **example_options(QUANTIZERS[quantizer].options if quantizer in QUANTIZERS else {})}

    def losses() -> list[float]:
        trainer = Trainer(tiny_run(batch_size=64, precision=precision, quantizer=options).spec, 0, digits, CPU)
        return steps_of(trainer, 2)

    ours, theirs = losses(), by_torch(losses)
    assert ours[0] == pytest.approx(theirs[0], rel=3e-4 if precision == "fp32" else 1e-2)  # activations' codes jump too
    assert ours[1] == pytest.approx(theirs[1], rel=3e-2)  # AdamW's first step is a sign, a code's a jump
