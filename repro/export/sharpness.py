"""How sharp the minimum of a finished run is: its loss where its weights are moved a little."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from repro.config import Run
from repro.config.runs import WEIGHTS_NAME, ZERO_RATE_WEIGHTS_NAME
from repro.data import Split
from repro.errors import ReproError
from repro.export.run import finished_record
from repro.quant import quant_layers
from repro.records.environment import describe_environment
from repro.records.sharpness import Sharpness, write_sharpness
from repro.train.device import choose_device, set_arithmetic
from repro.train.kept import kept_weights
from repro.train.seeds import derive_seed
from repro.train.surroundings import load_data
from repro.train.trainer import Trainer

RADII = (0.05, 0.1, 0.2)
DRAWS = 5
IMAGES = 5_000  # of each split: a loss of this many is known to a few hundredths of its value


def measure_sharpness(run: Run, results: Path, device: str = "auto", threads: int | None = None) -> Sharpness:
    """Move a run's weights by noise, take training and test loss, and write ``sharpness.json`` beside its record.

    Every quantisable layer's latent weight becomes ``W + r |W| / sqrt(N) z`` with z standard normal over its N
    weights, so that it moves by the share r of its norm; a quantiser rounds the moved weights anew. The weights are
    those where the learning rate is zero, where the run kept such, else its last. Evaluation mode, FP32 arithmetic.

    Args:
        run: A training that has ended, and whose weights are there.
        results: Folder of the records.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads; ``None`` for the scale's.

    Raises:
        ReproError: If the run or its weights are not there, or it is quantised after training.
    """
    if not run.epochs_to_train:
        raise ReproError(f"{run.experiment} trains nothing: name the run whose weights it takes")
    finished_record(run, results)
    directory = run.directory(results)
    at_zero_rate = (directory / ZERO_RATE_WEIGHTS_NAME).exists()
    state = kept_weights(run, results, ZERO_RATE_WEIGHTS_NAME if at_zero_rate else WEIGHTS_NAME)
    place, used = choose_device(device), run.torch_threads if threads is None else threads
    set_arithmetic(place, used, "fp32")
    trainer = Trainer({**run.spec, "precision": "fp32"}, run.seed, load_data(run, None), place)
    trainer.model.load_state_dict(state)
    splits = {name: _some(getattr(trainer.data, name), run.seed) for name in ("train", "test")}

    def losses() -> dict[str, float]:
        return {f"{name}_loss": round(trainer.evaluate(split)[0], 6) for name, split in splits.items()}

    at_rest, moved = losses(), {}
    for radius in RADII:
        taken = [losses() for _ in _draws(trainer, run.seed, radius)]
        moved[str(radius)] = {name: [draw[name] for draw in taken] for name in at_rest}
    sharpness = Sharpness(
        spec_hash=run.spec_hash,
        seed=run.seed,
        weights="zero_rate" if at_zero_rate else "last",
        images={name: len(split.labels) for name, split in splits.items()},
        train_loss=at_rest["train_loss"],
        test_loss=at_rest["test_loss"],
        moved=moved,
        environment={**describe_environment(), "torch": str(torch.__version__), "torch_threads": used},
    )
    write_sharpness(directory, sharpness)
    return sharpness


@torch.no_grad()
def _draws(trainer: Trainer, seed: int, radius: float) -> Iterator[None]:
    """Moves the weights anew for each draw, and puts them back; the same noise for every radius."""
    weights = [layer.weight for layer in quant_layers(trainer.model).values()]
    kept = [weight.detach().clone() for weight in weights]
    generator = torch.Generator().manual_seed(derive_seed(seed, "sharpness"))
    for _ in range(DRAWS):
        for weight, original in zip(weights, kept, strict=True):
            weight.copy_(original + radius * _noise(original, generator))
        yield
    for weight, original in zip(weights, kept, strict=True):
        weight.copy_(original)


def _noise(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise whose expected squared norm is the weight's."""
    drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
    noise: Tensor = drawn * (weight.norm() / math.sqrt(weight.numel()))
    return noise


def _some(split: Split, seed: int) -> Split:
    """``IMAGES`` of a split by the seed, or all where there are fewer."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "sharpness images"))
    chosen = torch.randperm(len(split.labels), generator=generator)[:IMAGES].sort().values.to(split.labels.device)
    return Split(split.images[chosen], split.labels[chosen])
