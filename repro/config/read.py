"""A YAML file as plain values, whatever is in it."""

import errno
import stat
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from repro.text import printable, shown

MOST_BYTES = 5_000_000  # the suite's own configuration has 15 kB


def read_yaml(path: Path) -> Any:
    """The file's content.

    Raises:
        ValueError: If it cannot be read or is no YAML; says in one line why.
    """
    try:
        return yaml.load(_read_text(path), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise ValueError(
            f"cannot be read: {error.strerror}; run from the project's folder, or make one: python -m repro init DIR"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text: {error.reason} at byte {error.start}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # such as a date of month 15
        raise ValueError(f"not valid YAML: {printable(error)}") from None


def read_own_yaml(path: Path) -> Any:
    """The content of a YAML file of the package, which the tests hold right.

    By libyaml where it is there: ten times as fast as the parser with the messages that :func:`read_yaml` is for.
    """
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _read_text(path: Path) -> str:
    """The file's text; a pipe, which may never end, is refused, and what nobody has written by hand."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    if found.st_size > MOST_BYTES:
        raise ValueError(f"it has {found.st_size / 1e6:,.0f} MB, and at most {MOST_BYTES / 1e6:.0f} are read")
    return path.read_text(encoding="utf-8")


class _UniqueKeyLoader(yaml.SafeLoader):
    """A key given twice is an error: plain YAML keeps the last and drops the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # `<<: *anchor`, whose keys may be given again
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, f"{shown(key)} is no key", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {shown(key)} given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
