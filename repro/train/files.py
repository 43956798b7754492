"""Files of tensors, checkpoints and weights alike: sealed when written, and read again without trust."""

import hashlib
import io
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repro.records.files import read_regular
from repro.records.integrity import DamagedError, sealed, unseal

STORAGES = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
# All that a checkpoint or weights name; torch's own list has more, such as a bytearray of any size.
NAMES = frozenset(
    {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", *(f"torch {kind}Storage" for kind in STORAGES)}
)
OTHER_NAMES = ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4")  # opcodes that torch.save never writes
MOST_ENTRIES = 100_000  # of a file: tensors and a few more
DEEPEST = 20  # mapping in mapping


def dump(content: Any) -> bytes:
    """Content as the bytes of a sealed file."""
    # torch.save to a path turns a full disk into a RuntimeError without the cause, and is not atomic
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return sealed(buffer.getvalue())


def load(path: Path) -> Any:
    """What ``dump`` was given. A file from before there were seals is held against the checksums within it.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedError: If it is not whole, or no such file; nothing larger than the file is allocated on the way.
    """
    try:
        content, _ = unseal(read_regular(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    try:
        _check_archive(content)
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        for tensor in _tensors(loaded):
            if tensor.numel() * tensor.element_size() > len(content):
                raise DamagedError(f"damaged: a tensor of {tensor.numel():,} numbers in {len(content):,} bytes")
    except DamagedError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in the readers
        raise DamagedError(f"damaged ({type(error).__name__})") from None
    return loaded


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 (hex) over names and bytes of tensors: the same for the same bits, whatever file they are in."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _check_archive(content: bytes) -> None:
    """Hold a zip archive against its own checksums and sizes, and what it unpickles against ``NAMES``."""
    if content[-22:-18] != b"PK\5\6" or content[-2:] != b"\0\0":  # its end, with nothing behind it
        raise DamagedError("damaged: its end is missing")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_ENTRIES or any(entry.compress_type for entry in entries):
            raise DamagedError("not a file that this suite writes")
        if sum(entry.file_size for entry in entries) > len(content):
            raise DamagedError("damaged: it claims to hold more than it does")
        damaged = archive.testzip()
        if damaged is not None:
            raise DamagedError(f"damaged: the checksum of its part {damaged!r} is wrong")
        for entry in entries:
            if entry.filename.endswith("data.pkl"):
                _check_names(archive.read(entry))


def _check_names(pickled: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in OTHER_NAMES or (opcode.name == "GLOBAL" and argument not in NAMES):
            raise DamagedError(f"not a file that this suite writes: it names {argument!r}")


def _tensors(loaded: Any) -> Iterator[Tensor]:
    """Every tensor in mappings and lists; each of them is looked into once, though a file may refer to it again."""
    seen: set[int] = set()
    level = [loaded]
    for _ in range(DEEPEST):
        following: list[Any] = []
        for value in level:
            if isinstance(value, Tensor):
                yield value
            elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
                seen.add(id(value))
                following += value.values() if isinstance(value, Mapping) else value
        level = following
        if not level:
            return
    raise DamagedError("not a file that this suite writes: it is nested too deep")
