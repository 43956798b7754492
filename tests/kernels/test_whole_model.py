"""Training with the kernels and without: the same step, the same course, the same state."""

import copy
from collections.abc import Callable

import pytest
import torch

from repro.config import Run, schema
from repro.data import ImageData, load_dataset
from repro.kernels import library
from repro.quant import QUANTIZERS
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


def test_one_fp32_step_is_torchs(digits: ImageData, tiny_run: MakeRun, by_torch: ByTorch) -> None:
    """Weights after two steps: the first is torch's own update, the second the kernel's."""

    def stepped() -> dict[str, torch.Tensor]:
        trainer = Trainer(tiny_run(batch_size=64).spec, 0, digits, CPU)
        first = {n: p.grad for n, p in trainer.model.named_parameters()} if not steps_of(trainer, 1) else {}
        gradients = {f"gradient {name}": p.grad.clone() for name, p in trainer.model.named_parameters()}
        return {**first, **gradients, **copy.deepcopy(trainer.model.state_dict())}

    ours, theirs = stepped(), by_torch(stepped)
    assert library() is not None
    for name, their in theirs.items():
        if name.endswith("bias") and "conv" in name and "gradient" in name:
            continue  # zero but for rounding: batch norm takes the bias away
        norm = (ours[name].double() - their.double()).norm() / their.double().norm().clamp_min(1e-6)
        assert norm <= (1e-3 if "bias" in name and "conv" in name else 1e-5), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_hundred_steps_stay_inside_torchs_own_noise(
    precision: str, digits: ImageData, tiny_run: MakeRun, by_torch: ByTorch
) -> None:
    """Noise: what weights that differ in their last bit make of torch's own steps."""

    def losses(noise: int = 0) -> torch.Tensor:
        trainer = Trainer(tiny_run(batch_size=64, precision=precision).spec, 0, digits, CPU)
        if noise:
            generator = torch.Generator().manual_seed(noise)
            with torch.no_grad():
                for parameter in trainer.model.parameters():
                    parameter.mul_(1 + 2**-23 * torch.randn(parameter.shape, generator=generator))
        return torch.tensor(steps_of(trainer, 100))

    ours, theirs = losses(), by_torch(losses)
    noise = max((by_torch(lambda n=n: losses(n)) - theirs).abs().mean().item() for n in (1, 2, 3))
    assert theirs[-10:].mean() < theirs[:10].mean()
    assert (ours - theirs).abs().mean().item() <= 3 * noise


def test_a_run_goes_on_with_the_other_kernels(digits: ImageData, tiny_run: MakeRun, by_torch: ByTorch) -> None:
    def trained(state: dict[str, object] | None, steps: int) -> Trainer:
        trainer = Trainer(tiny_run(batch_size=64).spec, 0, digits, CPU)
        if state is not None:
            trainer.load_state(copy.deepcopy(state))
        steps_of(trainer, steps) if state is None else [
            trainer.start_epoch(),
            trainer.train_step(),
            trainer.train_step(),
        ]
        return trainer

    ours, theirs = trained(None, 3), by_torch(lambda: trained(None, 3))
    whole = trained(ours.state(), 2).model.state_dict()
    for end in (by_torch(lambda: trained(ours.state(), 2)), trained(theirs.state(), 2)):
        for name, value in end.model.state_dict().items():
            if "conv" not in name or "bias" not in name:
                assert (value - whole[name]).double().norm() <= 2e-2 * whole[name].double().norm() + 1e-6, name


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
    options = {"name": quantizer, **example_options(schema.QUANTIZERS[quantizer])}

    def losses() -> list[float]:
        trainer = Trainer(tiny_run(batch_size=64, precision=precision, quantizer=options).spec, 0, digits, CPU)
        return steps_of(trainer, 2)

    assert losses() == pytest.approx(by_torch(losses), rel=1e-3 if precision == "fp32" else 3e-2)
