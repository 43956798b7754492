"""Read and check ``config.yaml``."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.config.options import NONE, Option, Problems, check, merge
from repro.config.read import read_yaml
from repro.config.registry import OPTIMIZERS, PTQ_METHODS, QUANTIZERS
from repro.config.schema import ABOUT, EXPERIMENT, MOST_SEED, NAME, SCALE
from repro.config.spec import Spec
from repro.errors import ReproError
from repro.text import shown

RESERVED_GROUPS = ("all", "report", "train", "track", "weights")
LONGEST_NAME = 100  # names of scales and experiments are names of folders
KEYS = ("scale", "seeds", "scales", "defaults", "experiments")
SEEDS = Option(int, minimum=0, maximum=MOST_SEED, length=-1)
OVERRIDES = ("scale", "seeds")  # what a command line may replace


class ConfigError(ReproError):
    """The configuration is wrong; the message lists every problem."""

    def __init__(self, path: str | Path, problems: list[str]) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        super().__init__(f"{path}: {count}\n" + "\n".join(f"  {line}" for line in problems))
        self.problems = problems


@dataclass(frozen=True)
class Scale:
    """A named set of overrides, such as ``quick`` or ``paper``; see the README's table.

    ``decides`` is no override: it says that the scale's runs are as long as the paper's, so that they may give
    verdicts on its claims. Runs of any other scale only stand beside.
    """

    name: str
    description: str
    dataset_map: Mapping[str, str]
    train_images: int | None
    test_images: int | None
    width: float | None
    epochs_factor: float
    precision: str | None
    torch_threads: int
    seeds: tuple[int, ...]
    decides: bool = False


@dataclass(frozen=True)
class Experiment:
    """One entry of the registry, at the paper's own scale.

    Attributes:
        name: Key in ``experiments``.
        group: Target of the workflow and table of the report that it belongs to.
        title: How the report names it.
        fixed_epochs: A scale does not shorten it.
        scales: Names of the scales in which it takes part; ``None`` is all of them.
        by_default: It runs when nothing is named: in the workflow's default job, and with ``train all``.
        settings: Checked settings complete.
    """

    name: str
    group: str
    title: str
    fixed_epochs: bool
    scales: tuple[str, ...] | None
    by_default: bool
    settings: Spec

    def takes_part(self, scale: str) -> bool:
        """Whether it has runs at a scale."""
        return self.scales is None or scale in self.scales


@dataclass(frozen=True)
class Config:
    """The whole checked configuration."""

    scale: str
    scales: Mapping[str, Scale]
    experiments: Mapping[str, Experiment]


def load_config(path: str | Path = "config.yaml", overrides: Mapping[str, Any] | None = None) -> Config:
    """Read, merge and check a configuration file.

    Args:
        path: The YAML file.
        overrides: Values for ``scale`` or ``seeds`` that replace the file's; ``seeds`` also those of
            every scale. Anything else belongs into the file.

    Raises:
        ConfigError: With every problem at once, each with its path in the file.
    """
    try:
        raw = read_yaml(Path(path))
    except ValueError as error:
        raise ConfigError(path, [str(error)]) from None
    problems = Problems()
    config = _build(_override(raw, overrides or {}, problems), problems)
    if config is None or problems.lines:
        raise ConfigError(path, problems.lines)
    return config


def _override(raw: Any, overrides: Mapping[str, Any], problems: Problems) -> Any:
    for key in overrides.keys() - set(OVERRIDES):
        problems.unknown(f"--config {key}", key, list(OVERRIDES))
    known = {key: value for key, value in overrides.items() if key in OVERRIDES}
    if not isinstance(raw, Mapping):
        return raw
    scales = raw.get("scales")
    if not isinstance(scales, Mapping):
        return {**raw, **known}
    if "scale" in known and known["scale"] not in map(str, scales):
        problems.unknown("--config scale", known.pop("scale"), list(map(str, scales)), what="scale")
    if "seeds" in known:
        seeds = _typed_seeds(known.pop("seeds"), problems)
        known["seeds"] = seeds or raw.get("seeds")
        known["scales"] = {
            name: {**scale, "seeds": seeds} if isinstance(scale, Mapping) else scale for name, scale in scales.items()
        }
    return {**raw, **known}


def _typed_seeds(given: Any, problems: Problems) -> list[int] | None:
    """Seeds as they come from a command line: ``seeds=[0,1]`` as texts, ``seeds=0`` as one number."""
    items = given if isinstance(given, list | tuple) else [given]
    typed = [int(item) if isinstance(item, str) and re.fullmatch(r" *\d{1,20} *", item) else item for item in items]
    wrong = Problems()
    seeds: list[int] | None = check(SEEDS, typed, "--config seeds", wrong)
    if seeds is not None and len(set(map(str, seeds))) < len(seeds):
        wrong.add("--config seeds", f"{shown(seeds)} names a seed twice")
    problems.lines += [f"{line}, such as --config 'seeds=[0,1,2]'" for line in wrong.lines]
    return None if wrong.lines else seeds


def _build(raw: Any, problems: Problems) -> Config | None:
    if not isinstance(raw, Mapping):
        problems.add("config", f"not a mapping with the keys {', '.join(KEYS)}")
        return None
    for key in raw:
        if key not in KEYS:
            problems.unknown(shown(key), key, list(KEYS))
    seeds = check(SEEDS, raw.get("seeds"), "seeds", problems)
    scales = {name: _scale(name, value, seeds, problems) for name, value in _entries(raw, "scales", problems)}
    defaults = raw.get("defaults") or {}
    if not isinstance(defaults, Mapping):
        problems.add("defaults", f"{shown(defaults)} is not a mapping")
        defaults = {}
    _only_known_keys(defaults, problems)
    experiments = {
        name: _experiment(name, value, defaults, problems) for name, value in _entries(raw, "experiments", problems)
    }
    scale = raw.get("scale")
    if not isinstance(scale, str) or scale not in scales:
        problems.unknown("scale", scale, list(scales), what="scale")
    if problems.lines:
        return None
    _check_names(experiments, problems)  # type: ignore[arg-type]
    _check_scales(experiments, scales, problems)  # type: ignore[arg-type]
    _check_starts(experiments, scales, problems)  # type: ignore[arg-type]
    if problems.lines:
        return None
    _check_post_training(experiments, scales, problems)  # type: ignore[arg-type]
    for name, experiment in experiments.items():
        _check_pairs(f"experiments.{name}", experiment.settings, problems)  # type: ignore[union-attr]
    return Config(scale=scale, scales=scales, experiments=experiments)  # type: ignore[arg-type]


def _entries(raw: Mapping[str, Any], key: str, problems: Problems) -> list[tuple[str, Any]]:
    value = raw.get(key)
    if not isinstance(value, Mapping) or not value:
        problems.add(key, f"{shown(value)} is not a mapping with at least one entry")
        return []
    good = []
    for name, entry in value.items():
        if isinstance(name, str) and len(name) <= LONGEST_NAME and re.fullmatch(NAME, name):
            good.append((name, entry))
        else:
            allowed = f"a name is made of lower-case letters, digits and _, a letter first, {LONGEST_NAME} at most"
            problems.add(f"{key}.{shown(name)}", allowed)
    return good


def _only_known_keys(defaults: Mapping[str, Any], problems: Problems) -> None:
    for key in defaults:
        if key not in EXPERIMENT.fields:
            problems.unknown(f"defaults.{key}", key, list(EXPERIMENT.fields))


def _scale(name: str, value: Any, seeds: Any, problems: Problems) -> Scale | None:
    before = len(problems.lines)
    checked = check(SCALE, value, f"scales.{name}", problems)
    if len(problems.lines) > before:
        return None
    own_seeds = checked.pop("seeds") or seeds or ()
    if len(set(own_seeds)) < len(own_seeds):
        problems.add(f"scales.{name}.seeds", f"{shown(own_seeds)} names a seed twice")
    return Scale(name=name, seeds=tuple(own_seeds), **checked)


def _check_names(experiments: Mapping[str, Experiment], problems: Problems) -> None:
    """Groups and experiments are targets of one workflow."""
    groups = {experiment.group for experiment in experiments.values()}
    for name in experiments:
        if name in groups or name in RESERVED_GROUPS:
            taken = "a group" if name in groups else "a step of the workflow"
            problems.add(f"experiments.{name}", f"{taken} has this name too, and both are targets: choose another")


def _check_scales(experiments: Mapping[str, Experiment], scales: Iterable[str], problems: Problems) -> None:
    known = list(scales)
    for name, experiment in experiments.items():
        for scale in experiment.scales or ():
            if scale not in known:
                problems.unknown(f"experiments.{name}.scales", scale, known, what="scale")


def _check_starts(experiments: Mapping[str, Experiment], scales: Iterable[str], problems: Problems) -> None:
    """Whoever starts from an experiment's weights needs one that trains the same network in FP32 wherever it runs."""
    for name, experiment in experiments.items():
        start, path = experiment.settings["start_from"], f"experiments.{name}.start_from"
        if start is None:
            continue
        source = experiments.get(start)
        if source is None:
            problems.unknown(path, start, list(experiments), what="experiment")
            continue
        alone = [scale for scale in scales if experiment.takes_part(scale) and not source.takes_part(scale)]
        if _starts_from_itself(name, experiments):
            problems.add(path, f"{name} starts, in the end, from itself")
        elif any(source.settings[kind]["name"] != "none" for kind in ("quantizer", "activation_quantizer", "ptq")):
            problems.add(path, f"{start} is quantised: start from an experiment that trains in FP32")
        elif any(source.settings[key] != experiment.settings[key] for key in ("model", "dataset")):
            problems.add(path, f"{start} has another model or other data; give both the same")
        elif alone:
            problems.add(path, f"{start} takes no part at scale {', '.join(alone)}")


def _starts_from_itself(name: str, experiments: Mapping[str, Experiment]) -> bool:
    seen: list[str] = []
    following: str | None = name
    while following is not None and following in experiments and following not in seen:
        seen.append(following)
        following = experiments[following].settings["start_from"]
    return following in seen


def _check_post_training(experiments: Mapping[str, Experiment], scales: Iterable[str], problems: Problems) -> None:
    """PTQ needs an FP32 network that some other experiment trains, at every scale at which it takes part."""
    for name, experiment in experiments.items():
        if experiment.settings["ptq"]["name"] == "none":
            continue
        path = f"experiments.{name}"
        if experiment.settings["quantizer"]["name"] != "none":
            problems.add(f"{path}.ptq", "quantises a network trained in FP32: give this experiment `quantizer: none`")
            continue
        source = (experiment.fixed_epochs, {**experiment.settings, "ptq": {"name": "none"}})
        sources = [other for other in experiments.values() if (other.fixed_epochs, other.settings) == source]
        alone = [s for s in scales if experiment.takes_part(s) and not any(one.takes_part(s) for one in sources)]
        if alone:
            where = f" at scale {', '.join(alone)}" if sources else ""
            problems.add(
                f"{path}.ptq", f"no experiment trains its network{where}: add one of the same settings without ptq"
            )


def _check_pairs(path: str, settings: Spec, problems: Problems) -> None:
    """Two methods that do the same, of which one would be lost or undo the other; a rule without anything to rule."""
    weights, inputs = settings["quantizer"]["name"], settings["activation_quantizer"]["name"]
    if NONE not in (weights, inputs) and QUANTIZERS[weights].input_bits is not None:
        problems.add(
            f"{path}.activation_quantizer",
            f"{weights} quantises the inputs itself: give this experiment `activation_quantizer: none`",
        )
    after = settings["ptq"]
    if after.get("bias_correction", "own") != "own" and PTQ_METHODS[after["name"]].corrects_biases:
        problems.add(f"{path}.ptq.bias_correction", f"{after['name']} corrects the biases itself: leave this out")
    optimizer = settings["optimizer"]
    if optimizer["mup_base_width"] is not None and OPTIMIZERS[optimizer["name"]].width_exponent is None:
        problems.add(
            f"{path}.optimizer.mup_base_width",
            f"muP leaves the hidden matrices' rate as it is under {optimizer['name']}: leave this out",
        )
    if optimizer["mup_base_width"] is not None and "width" not in settings["model"]:
        problems.add(f"{path}.optimizer.mup_base_width", f"{settings['model']['name']} has no width: leave this out")


def _experiment(name: str, value: Any, defaults: Mapping[str, Any], problems: Problems) -> Experiment | None:
    path, before = f"experiments.{name}", len(problems.lines)
    known_defaults = {key: entry for key, entry in defaults.items() if key in EXPERIMENT.fields}
    checked = check(EXPERIMENT, merge(EXPERIMENT, known_defaults, value), path, problems)
    if len(problems.lines) > before:
        return None
    about = {key: checked.pop(key) for key in ABOUT}
    about["scales"] = about["scales"] and tuple(about["scales"])
    if not re.fullmatch(NAME, about["group"]) or about["group"] in RESERVED_GROUPS:
        problems.add(
            f"{path}.group",
            f"{shown(about['group'])} cannot name a target: use lower-case letters, digits and _, "
            f"a letter first, and not {', '.join(RESERVED_GROUPS)}",
        )
    return Experiment(name=name, **about, settings=checked)
