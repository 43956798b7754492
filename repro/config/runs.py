"""From the registry to runs: scale applied, identity hashed, equal runs shared."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from repro.config.load import Config, Experiment, Scale
from repro.config.options import Choice
from repro.config.registry import DATASETS, MODELS
from repro.config.schema import SPEC
from repro.config.spec import Spec, hash_spec
from repro.errors import ReproError
from repro.text import did_you_mean

RECORD_NAME = "record.json"
WEIGHTS_NAME = "weights.pt"
ZERO_RATE_WEIGHTS_NAME = "weights-zero-rate.pt"


@dataclass(frozen=True)
class Run:
    """One training, or one quantisation after training: an experiment at a scale with a seed.

    Attributes:
        scale: Name of the scale.
        experiment: Name of the experiment that owns the run: the first of those that resolve to the same spec.
        seed: Seed of initial weights, sample order, augmentation, dropout and validation split.
        spec: Everything that changes a number, checked and complete.
        spec_hash: First 8 hexadecimal digits of the hash of ``spec``.
        torch_threads: Threads the scale asks for; recorded, not part of the identity.
    """

    scale: str
    experiment: str
    seed: int
    spec: Spec
    spec_hash: str
    torch_threads: int

    def directory(self, results: str | Path = "results") -> Path:
        """``results/<scale>/<experiment>/seed<k>-<spec8>``."""
        return Path(results) / self.scale / self.experiment / f"seed{self.seed}-{self.spec_hash}"

    def record_path(self, results: str | Path = "results") -> Path:
        """The file whose existence says that the run has ended."""
        return self.directory(results) / RECORD_NAME

    def weights_path(self, results: str | Path = "results") -> Path:
        """The finished run's weights."""
        return self.directory(results) / WEIGHTS_NAME

    @property
    def epochs_to_train(self) -> int:
        """Epochs of the whole run; a PTQ run takes finished weights and trains none."""
        return self.spec["epochs"] if self.spec["ptq"]["name"] == "none" else 0

    @property
    def key(self) -> str:
        """Identity in one string, used by MLflow: ``<scale>/<spec8>/seed<k>``."""
        return f"{self.scale}/{self.spec_hash}/seed{self.seed}"


def resolve_spec(experiment: Experiment, scale: Scale) -> Spec:
    """The experiment's settings with the scale's overrides applied.

    ``start_from`` still is the name of an experiment: ``Plan`` puts that one's identity in its place.
    Epochs are rounded to the nearest whole number, at least one; options counted
    in epochs (a schedule's T_max) shrink by the same ratio as the epochs did, so
    that the schedule keeps its shape.
    """
    spec: dict[str, Any] = copy.deepcopy(dict(experiment.settings))
    dataset = spec["dataset"]
    dataset["name"] = scale.dataset_map.get(dataset["name"], dataset["name"])
    for key in ("train_images", "test_images"):
        limit = getattr(scale, key) or dataset[key]
        dataset[key] = limit if limit is not None and limit < getattr(DATASETS[dataset["name"]], key) else None
    if scale.width is not None and "width" in MODELS[spec["model"]["name"]].options:
        spec["model"]["width"] = scale.width
    spec["precision"] = scale.precision or spec["precision"]
    if not experiment.fixed_epochs:
        _shorten(spec, scale.epochs_factor)
    return cast(Spec, spec)


def _shorten(spec: dict[str, Any], factor: float) -> None:
    original = spec["epochs"]
    spec["epochs"] = max(1, round(original * factor))
    for key, node in SPEC.fields.items():
        if isinstance(node, Choice):
            for name, option in node.options(spec[key]["name"]).items():
                if option.in_epochs:
                    # multiplied before it is divided: whole epochs stay whole, so that a restart falls on its epoch
                    before = spec[key][name]
                    after = [one * spec["epochs"] / original for one in (before if option.length else [before])]
                    spec[key][name] = after if option.length else after[0]


def get_scale(config: Config, name: str | None = None) -> Scale:
    """The named scale, or the configured one.

    Raises:
        ReproError: If there is no such scale.
    """
    name = name or config.scale
    if name not in config.scales:
        hint = did_you_mean(name, config.scales) or ";"
        raise ReproError(f"unknown scale {name!r}{hint} config.yaml has: {', '.join(config.scales)}")
    return config.scales[name]


class Plan:
    """Every run of one scale, with equal runs shared between experiments.

    Attributes:
        config: The whole configuration.
        scale: The scale.
        experiments: Those that take part at it, in the order of ``config.yaml``.
    """

    def __init__(self, config: Config, scale: str | None = None) -> None:
        """Resolve the whole registry at ``scale`` (default: the configured one)."""
        self.config = config
        self.scale = get_scale(config, scale)
        self.experiments = [e for e in config.experiments.values() if e.takes_part(self.scale.name)]
        self._specs = {e.name: self._resolve(e) for e in self.experiments}
        self._hashes = {name: hash_spec(spec) for name, spec in self._specs.items()}
        self._owners: dict[str, str] = {}
        for name, spec_hash in self._hashes.items():
            self._owners.setdefault(spec_hash, name)

    def _resolve(self, experiment: Experiment) -> Spec:
        """Its spec, in which the run that it starts from is named by what it is, not by what it is called."""
        spec = resolve_spec(experiment, self.scale)
        if spec["start_from"] is not None:
            spec["start_from"] = hash_spec(self._resolve(self.config.experiments[spec["start_from"]]))
        return spec

    def runs(self, experiment: str) -> list[Run]:
        """The runs that serve an experiment, one a seed of the scale.

        Raises:
            ReproError: If there is no such experiment, or not at this scale.
        """
        return [self.run(experiment, seed) for seed in self.scale.seeds]

    def run(self, experiment: str, seed: int) -> Run:
        """The run that serves an experiment with one seed (any seed, also one the scale does not list)."""
        if experiment not in self._specs:
            raise self._unknown(experiment)
        spec_hash = self._hashes[experiment]
        return Run(
            scale=self.scale.name,
            experiment=self._owners[spec_hash],
            seed=seed,
            spec=self._specs[experiment],
            spec_hash=spec_hash,
            torch_threads=self.scale.torch_threads,
        )

    def _unknown(self, experiment: str) -> ReproError:
        """The error for a name without runs here."""
        known = self.config.experiments.get(experiment)
        if known is not None:
            scales = ", ".join(known.scales or ())
            return ReproError(
                f"{experiment} takes no part at scale {self.scale.name}, only at: {scales} (--scale NAME)"
            )
        if experiment in self.groups:
            names = ", ".join(one.name for one in self.experiments if one.group == experiment)
            return ReproError(f"{experiment} is a group, not an experiment: name some of {names}")
        hint = did_you_mean(experiment, self._specs)
        return ReproError(f"unknown experiment {experiment!r}{hint} (see: python -m repro list)")

    def source(self, run: Run) -> Run | None:
        """The run whose weights another one takes: to quantise them, or to start from; ``None`` for any other."""
        if run.spec["ptq"]["name"] == "none":
            start = run.spec["start_from"]
            return None if start is None else self.run(self._owners[start], run.seed)
        spec_hash = hash_spec({**run.spec, "ptq": {"name": "none"}})
        return self.run(self._owners[spec_hash], run.seed)  # `load_config` has seen to it that there is one

    def weights_before(self, run: Run, results: str | Path = "results") -> list[str]:
        """Files that the workflow makes before ``run``: the weights that it quantises or starts from.

        None where its record stands and they are gone: Snakemake would make every such record again as soon as
        a new one asks for the weights.
        """
        source = self.source(run)
        if source is None or (run.record_path(results).exists() and not source.weights_path(results).exists()):
            return []
        return [str(source.weights_path(results))]

    @property
    def serves(self) -> dict[str, list[str]]:
        """Spec hash to the experiments that it serves; the first of them owns the run."""
        result: dict[str, list[str]] = {}
        for name, spec_hash in self._hashes.items():
            result.setdefault(spec_hash, []).append(name)
        return result

    @property
    def groups(self) -> list[str]:
        """Groups with runs at this scale, in order of first appearance."""
        return list(dict.fromkeys(e.group for e in self.experiments))

    def group(self, group: str) -> list[Run]:
        """Runs of one group, each once."""
        names = [e.name for e in self.experiments if e.group == group]
        return list({run.key: run for name in names for run in self.runs(name)}.values())

    @property
    def targets(self) -> dict[str, list[Run]]:
        """What the workflow can be asked for by name: the runs of every group and of every experiment."""
        groups = {group: self.group(group) for group in self.groups}
        return groups | {experiment.name: self.runs(experiment.name) for experiment in self.experiments}

    @property
    def default_runs(self) -> list[Run]:
        """Runs that an experiment asks for by default, each once."""
        names = [e.name for e in self.experiments if e.by_default]
        return list({run.key: run for name in names for run in self.runs(name)}.values())

    def __iter__(self) -> Iterator[Run]:
        """Every run of the scale, each once."""
        seen = {run.key: run for name in self._specs for run in self.runs(name)}
        return iter(seen.values())
