"""Shared: the project's own configuration, runs small enough for tests, and real CIFAR where it is."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from repro.config import Config, Plan, Run, hash_spec, load_config
from repro.config.options import Option

PROJECT = Path(__file__).parent.parent

# Two workers share two cores; whatever a test starts as a process inherits it. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The workflow comes first: the longest file at the end would leave the other worker idle."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


def example_options(options: Mapping[str, Option]) -> dict[str, object]:
    """Options that any method takes: 4 for whole numbers, 1 for others. A new method needs no edit here."""
    return {name: 4 if option.kind is int else 1.0 for name, option in options.items()}


@pytest.fixture(scope="session")
def project() -> Path:
    """The checkout's root."""
    return PROJECT


@pytest.fixture(scope="session")
def config() -> Config:
    """The project's config.yaml."""
    return load_config(PROJECT / "config.yaml")


@pytest.fixture(scope="session")
def everywhere(config: Config) -> Config:
    """The same, with every experiment at every scale: also those that keep to the longer ones."""
    return replace(config, experiments={name: replace(e, scales=None) for name, e in config.experiments.items()})


@pytest.fixture
def tiny_run(everywhere: Config) -> Callable[..., Run]:
    """A run of an experiment at scale smoke, with settings of its spec replaced."""

    def make(experiment: str = "main_cifar10", seed: int = 0, **changes: object) -> Run:
        run = Plan(everywhere, "smoke").run(experiment, seed)
        spec = {**run.spec, **changes}
        return replace(run, spec=spec, spec_hash=hash_spec(spec))

    return make


@pytest.fixture(scope="session")
def cifar_dir() -> Path:
    """Folder with real CIFAR-10, or a skip that says why."""
    directory = Path(os.environ.get("REPRO_DATA_DIR") or PROJECT / "data")
    if not any((directory / name).exists() for name in ("cache/cifar10.npz", "cifar10", "cifar-10-batches-py")):
        pytest.skip(f"real CIFAR-10 is not in {directory} (set REPRO_DATA_DIR to a folder that has it)")
    return directory
