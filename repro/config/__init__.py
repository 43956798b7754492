"""Typed, validated configuration and the runs it asks for. Imports neither torch nor pandas."""

from repro.config.load import Config, ConfigError, Experiment, Scale, load_config
from repro.config.runs import Plan, Run, get_scale, resolve_spec
from repro.config.spec import CORE_VERSION, Spec, complete_spec, hash_spec

__all__ = [
    "CORE_VERSION",
    "Config",
    "ConfigError",
    "Experiment",
    "Plan",
    "Run",
    "Scale",
    "Spec",
    "complete_spec",
    "get_scale",
    "hash_spec",
    "load_config",
    "resolve_spec",
]
