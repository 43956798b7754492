"""Typed, validated configuration and the runs it asks for. Imports neither torch nor pandas."""

from repro.config.load import Config, ConfigError, Experiment, Scale, load_config
from repro.config.runs import CORE_VERSION, Plan, Run, get_scale, hash_spec, resolve_spec

__all__ = [
    "CORE_VERSION",
    "Config",
    "ConfigError",
    "Experiment",
    "Plan",
    "Run",
    "Scale",
    "get_scale",
    "hash_spec",
    "load_config",
    "resolve_spec",
]
