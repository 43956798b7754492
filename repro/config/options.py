"""The pieces that a configuration schema is made of, and the one recursive check over them.

A schema is a tree of three kinds of node: ``Option`` (a scalar or a list of
scalars), ``Section`` (named children) and ``Choice`` (one method of a registry,
with that method's own options). ``check`` walks schema and value together and
collects every problem instead of stopping at the first.
"""

import importlib
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from repro.text import did_you_mean, harmless, shown

MOST_CHARACTERS = 200  # of a path in a message
MOST_WHOLE = 2**63  # no option takes more, and some would fail at it in odd places
KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "a text", dict: "a mapping"}


@dataclass(frozen=True)
class Option:
    """A scalar, or a list of scalars where ``length`` is given.

    Attributes:
        kind: One of ``KINDS``.
        minimum: Smallest value allowed (inclusive unless ``above`` is set).
        maximum: Largest value allowed (inclusive unless ``below`` is set).
        above: The value must be larger than ``minimum``, not equal.
        below: The value must be smaller than ``maximum``, not equal.
        choices: The only strings allowed; empty means any.
        length: 0 for a scalar, n for a list of n, -1 for a list of at least one.
        nullable: ``null`` (off, or no limit) is allowed.
        default: Value where the key is absent; ``...`` makes the key required.
            A value equal to its default is left out of a run's identity, so a
            new option keeps the hashes of old records: a default never changes.
        in_epochs: Counted in epochs, so it shrinks when a scale shortens the training.
    """

    kind: type
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    below: bool = False
    choices: Collection[str] = ()
    length: int = 0
    nullable: bool = False
    default: Any = ...
    in_epochs: bool = False

    def describe(self) -> str:
        """What is allowed, in words."""
        if self.choices:
            text = "one of " + ", ".join(self.choices)
        else:
            text = KINDS[self.kind]
            bounds = []
            if self.minimum is not None:
                bounds.append(f"{'>' if self.above else '>='} {_number(self.minimum)}")
            if self.maximum is not None:
                bounds.append(f"{'<' if self.below else '<='} {_number(self.maximum)}")
            text = " ".join([text, " and ".join(bounds)]).rstrip()
        if self.length:
            text = f"a list of {self.length if self.length > 0 else 'at least one'}: {text}"
        return text + (", or null" if self.nullable else "")


@dataclass(frozen=True)
class Section:
    """A mapping with known keys."""

    fields: Mapping[str, "Node"]
    default: Any = ...


class Method:
    """One entry of a registry: where the method's code is, and which options it takes.

    Calling it calls the code, which is imported at its first use.

    Attributes:
        options: The method's options by name; those of its code besides what its kind is always called with.
    """

    def __init__(self, code: str | Callable[..., Any], /, **options: Option) -> None:
        """``code`` is ``module:attribute``, or the function or class itself."""
        self.options: Mapping[str, Option] = options
        self._code = code

    @property
    def code(self) -> Any:
        """The function or class."""
        if isinstance(self._code, str):
            module, _, attribute = self._code.partition(":")
            self._code = getattr(importlib.import_module(module), attribute)
        return self._code

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What the code gives."""
        return self.code(*arguments, **options)


NONE = "none"


@dataclass(frozen=True)
class Choice:
    """One method of a registry: ``{name: METHOD, option: value}`` or just ``METHOD``.

    Attributes:
        methods: The registry.
        optional: ``none``, the absence of a method, is allowed too.
        default: As an option's.
        common: Options that every method but ``none`` takes besides its own; not its code, but the code around it.
    """

    methods: Mapping[str, Method]
    optional: bool = False
    default: Any = ...
    common: Mapping[str, Option] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """What may be chosen."""
        return [*([NONE] if self.optional else []), *self.methods]

    def options(self, name: str) -> Mapping[str, Option]:
        """The options of what was chosen."""
        return {} if self.optional and name == NONE else {**self.methods[name].options, **self.common}


Node = Option | Section | Choice


@dataclass
class Problems:
    """Every problem found, each with its path, the value, what is allowed and the nearest match."""

    lines: list[str] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        """Note one problem at ``path``."""
        self.lines.append(harmless(f"{path[:MOST_CHARACTERS]}: {message}"))

    def unknown(self, path: str, key: object, allowed: list[str], what: str = "key") -> None:
        """Note a name that is not among ``allowed``, with the nearest that is."""
        # a key is compared with all that are allowed, in a time that grows with the square of its length
        hint = did_you_mean(key[:40], allowed, cutoff=0.5) if isinstance(key, str) else ""
        self.add(path, f"unknown {what} {shown(key)}{hint} (allowed: {', '.join(sorted(allowed))})")


def _number(value: float) -> str:
    return str(value) if type(value) is int else f"{value:g}"


def check(node: Node, value: Any, path: str, problems: Problems) -> Any:
    """Return ``value`` with defaults filled in and numbers converted, as ``node`` describes it.

    Args:
        node: The schema.
        value: What the user wrote.
        path: Where it stands, such as ``experiments.main_cifar10.epochs``.
        problems: Collects what is wrong; the return value is only usable when it stays empty.
    """
    if isinstance(node, Option):
        return _check_option(node, value, path, problems)
    if isinstance(node, Choice):
        return _check_choice(node, value, path, problems)
    return _check_section(node.fields, value, path, problems)


def _check_section(fields: Mapping[str, Node], value: Any, path: str, problems: Problems) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        problems.add(path, f"{shown(value)} is not a mapping (keys: {', '.join(fields)})")
        return {}
    for key in value:
        if key not in fields:
            problems.unknown(f"{path}.{key}" if path else str(key), key, list(fields))
    result: dict[str, Any] = {}
    for key, child in fields.items():
        where = f"{path}.{key}" if path else key
        if key in value:
            result[key] = check(child, value[key], where, problems)
        elif child.default is ...:
            problems.add(where, "missing; it has no default")
        else:
            result[key] = child.default
    return result


def _check_choice(node: Choice, value: Any, path: str, problems: Problems) -> dict[str, Any]:
    value = as_method(value)
    name = value.get("name") if isinstance(value, Mapping) else None
    if name is None:
        problems.add(path, f"{shown(value)} names no method (allowed: {', '.join(sorted(node.names))})")
        return {}
    if not isinstance(name, str) or name not in node.names:
        problems.unknown(f"{path}.name", name, node.names, what="method")
        return {}
    return _check_section({"name": Option(str), **node.options(name)}, value, path, problems)


def _check_option(node: Option, value: Any, path: str, problems: Problems) -> Any:
    if value is None and node.nullable:
        return None
    if node.length:
        right_length = isinstance(value, list | tuple) and len(value) >= 1 and node.length in (-1, len(value))
        if not right_length:
            problems.add(path, f"{shown(value)} is not allowed; expected {node.describe()}")
            return None
        items = [_scalar(node, item) for item in value]
        if ... in items:
            problems.add(path, f"{shown(value)} is not allowed; expected {node.describe()}")
        return items
    scalar = _scalar(node, value)
    if scalar is ... and node.choices:
        problems.unknown(path, value, list(node.choices), what="value")
    elif scalar is ...:
        problems.add(path, f"{shown(value)} is not allowed; expected {node.describe()}")
    return scalar


def _scalar(node: Option, value: Any) -> Any:
    """The converted scalar, or ``...`` where it is not allowed."""
    if node.kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        try:
            value = float(value)
        except ValueError:
            return ...
    if type(value) is int and abs(value) > MOST_WHOLE:
        return ...
    if node.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not node.kind:
        return ...
    if node.choices and value not in node.choices:
        return ...
    number: Any = value
    if node.kind in (int, float) and not _in_range(node, number):
        return ...
    return value


def _in_range(node: Option, number: float) -> bool:
    if not math.isfinite(number):
        return False
    if node.minimum is not None and (number < node.minimum or (node.above and number == node.minimum)):
        return False
    return node.maximum is None or number < node.maximum or (not node.below and number == node.maximum)


def as_method(value: Any) -> Any:
    """``METHOD`` as ``{name: METHOD}``; anything else unchanged."""
    return {"name": value} if isinstance(value, str) else value


def merge(node: Node, base: Any, override: Any) -> Any:
    """``override`` laid over ``base``, key by key.

    A method that changes its name starts from its own defaults: the options of
    the method it replaces would be unknown to it.
    """
    if isinstance(node, Choice):
        base, override = as_method(base), as_method(override)
        if not isinstance(base, Mapping) or not isinstance(override, Mapping):
            return override
        if override.get("name", base.get("name")) != base.get("name"):
            return override
        return {**base, **override}
    if isinstance(node, Section) and isinstance(base, Mapping) and isinstance(override, Mapping):
        merged = {**base, **override}
        for key in base.keys() & override.keys() & node.fields.keys():
            merged[key] = merge(node.fields[key], base[key], override[key])
        return merged
    return override


def without_defaults(node: Node, value: Any) -> Any:
    """A checked value without the entries that equal their schema default: a run's identity."""
    if isinstance(node, Option):
        return value
    fields: Mapping[str, Node] = node.fields if isinstance(node, Section) else node.options(value["name"])
    kept = {} if isinstance(node, Section) else {"name": value["name"]}
    for key, child in fields.items():
        if child.default is ... or value[key] != child.default:
            kept[key] = without_defaults(child, value[key])
    return kept
