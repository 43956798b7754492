"""Flip single bits of the files that are read again: how many are refused, and how many are taken without a word.

    python -m benchmarks.flips [--flips 1000] [--seed 0]

The files are those of a small run, each read as its command reads it. A flip that is not refused counts as harmless
where everything that was read is as before (a date in an archive's directory), and as silent otherwise. Exits with
status 1 if there is a silent one.
"""

import argparse
import io
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from torch.utils._pytree import tree_flatten

from repro.config import Plan, Run, load_config
from repro.data.cache import write_cache
from repro.data.cifar import cache_path, load_parts
from repro.data.expected import load_expected
from repro.data.types import Arrays, Parts, canonical, fingerprint
from repro.errors import ReproError
from repro.export.packed import load_packed, pack_model
from repro.records import CHECKPOINT_NAME, FORMER_CHECKPOINT_NAME, read_record, restore_record
from repro.records.integrity import DamagedError, unseal
from repro.records.record import COPY_NAME
from repro.train import Interrupted, Settings, train_run
from repro.train.assembly import make_trainer
from repro.train.checkpoint import load_checkpoint
from repro.train.kept import kept_weights
from repro.train.resume import check_state

PROJECT = Path(__file__).parent.parent
IMAGES = {"train": 200, "test": 40}


@dataclass(frozen=True)
class Kind:
    """A file and how it is read.

    Attributes:
        name: What it is.
        path: Where.
        read: Reads it; raises where it refuses.
    """

    name: str
    path: Path
    read: Callable[[], Any]


def make_kinds(folder: Path) -> list[Kind]:
    """Files of one small run that was stopped, and of the same one that went to its end."""
    run = Plan(load_config(PROJECT / "config.yaml"), "smoke").run("main_cifar10", 0)
    stopped, ended = folder / "stopped", folder / "ended"
    steps = iter(range(1, 10**9))
    try:
        train_run(run, Settings(results=stopped, stop=lambda: next(steps) >= 4, checkpoint_seconds=0))
    except Interrupted:
        (run.directory(stopped) / FORMER_CHECKPOINT_NAME).unlink(missing_ok=True)  # nothing to go back to
    train_run(run, Settings(results=ended))
    return [*_checkpoints(run, stopped), *_of_the_finished(run, ended), _cache(folder / "data")]


def _checkpoints(run: Run, results: Path) -> list[Kind]:
    """As it is written, and as it was before there were seals."""
    trainer, _ = make_trainer(run, Settings(results=results))
    check = partial(check_state, trainer=trainer)
    directory, older = run.directory(results), results / "older"
    content, _ = unseal((directory / CHECKPOINT_NAME).read_bytes())
    older.mkdir()
    (older / CHECKPOINT_NAME).write_bytes(content)

    def read(folder: Path) -> Any:
        checkpoint = load_checkpoint(folder, {}, check)
        assert checkpoint is not None
        return vars(checkpoint)

    names = {"checkpoint": directory, "checkpoint without a seal": older}
    return [Kind(name, where / CHECKPOINT_NAME, partial(read, where)) for name, where in names.items()]


def _of_the_finished(run: Run, results: Path) -> list[Kind]:
    directory = run.directory(results)
    record = read_record(run.record_path(results))
    model = make_trainer(run, Settings(results=results))[0].model
    model.load_state_dict(kept_weights(run, results))
    packed = directory / "model.safetensors"
    packed.write_bytes(pack_model(model.eval(), vars(record)))

    def read_packed() -> Any:
        found = load_packed(packed)
        return [found.model.state_dict(), found.record]

    def read_copy() -> Any:
        run.record_path(results).unlink(missing_ok=True)
        if not restore_record(directory):
            raise DamagedError("not restored")
        return vars(read_record(run.record_path(results)))

    return [
        Kind("weights", run.weights_path(results), lambda: dict(kept_weights(run, results))),
        Kind("packed", packed, read_packed),
        Kind("copy of the record", directory / COPY_NAME, read_copy),
    ]


def _cache(directory: Path) -> Kind:
    chance = np.random.default_rng(0)
    parts = Parts(*(
        canonical(Arrays(chance.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 10))
        for count in IMAGES.values()
    ))  # fmt: skip
    expected = replace(load_expected("cifar10"), fingerprint=fingerprint(parts))
    path = cache_path("cifar10", directory)
    path.parent.mkdir(parents=True)
    write_cache(path, parts)

    def read() -> Any:
        logging.getLogger("repro").setLevel(logging.CRITICAL)
        return [list(part) for part in load_parts(expected, directory)]

    return Kind("data cache", path, read)


def flip_bits(kind: Kind, flips: int, chance: random.Random) -> Mapping[str, Any]:
    """Flip bits of one file, one at a time, and read it.

    Returns:
        A row of the table.
    """
    content, expected = kind.path.read_bytes(), kind.read()
    counts = dict.fromkeys(("refused", "harmless", "silent"), 0)
    for _ in range(flips):
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        kind.path.write_bytes(flipped)
        try:
            found = kind.read()
        except (ReproError, DamagedError):
            counts["refused"] += 1
        else:
            counts["harmless" if _same(found, expected) else "silent"] += 1
    kind.path.write_bytes(content)
    assert _same(kind.read(), expected)
    return {"file": kind.name, "bytes": len(content), "flips": flips, **counts}


def _same(one: Any, two: Any) -> bool:
    (first, shape), (second, other) = tree_flatten(one), tree_flatten(two)
    return shape == other and all(map(_equal, first, second))


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and _bytes(one) == _bytes(two)
    if isinstance(one, np.ndarray):
        return bool(one.dtype == two.dtype and np.array_equal(one, two))
    return type(one) is type(two) and repr(one) == repr(two)


def _bytes(tensor: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, tensor.detach().contiguous().numpy())
    return buffer.getvalue()


def main() -> int:
    """Flip, count, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000, help="in all, shared between the files")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        kinds = make_kinds(Path(folder))
        rows = [flip_bits(kind, -(-arguments.flips // len(kinds)), chance) for kind in kinds]
    print(tabulate(rows, headers="keys"))
    silent = sum(row["silent"] for row in rows)
    print(f"{sum(row['flips'] for row in rows)} flips: {silent} taken without a word")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
