"""Checksums of files that are read again. Needs the standard library alone.

A seal is a last line that names the digest of all bytes before it; torch's reader does not mind it. Formats that
allow nothing behind them (safetensors, ONNX) carry a stamp: the digest stands within, and is taken with zeros there.
"""

import hashlib
import re

MARK = b"\nblake2b "
DIGITS = 64
STAMP = "blake2b-stamp:"
NO_STAMP = STAMP + "0" * DIGITS  # what a file holds until it is stamped
_STAMPED = re.compile(STAMP.encode() + rb"([0-9a-f]{%d})" % DIGITS)


class DamagedError(Exception):
    """The content of a file is not what was written; says in what way."""


def sealed(content: bytes) -> bytes:
    """``content`` with its checksum behind it."""
    return content + MARK + _digest(content)


def unseal(content: bytes) -> tuple[bytes, bool]:
    """What was sealed, and whether there is a seal: files from before there were any have none.

    Raises:
        DamagedError: If the checksum is not that of the content.
    """
    end = len(content) - DIGITS - len(MARK)
    if end < 0 or content[end : end + len(MARK)] != MARK:
        return content, False
    if content[-DIGITS:] != _digest(content[:end]):
        raise DamagedError("damaged: its checksum is not that of its content")
    return content[:end], True


def stamped(content: bytes) -> bytes:
    """``content``, in which ``NO_STAMP`` stands once, with its checksum there."""
    if content.count(NO_STAMP.encode()) != 1:
        raise ValueError("there must be one place for the stamp")
    return content.replace(NO_STAMP.encode(), STAMP.encode() + _digest(content))


def check_stamp(content: bytes) -> None:
    """Hold ``content`` against the stamp in it.

    Raises:
        DamagedError: If there is none, or several, or it is that of another content.
    """
    found = _STAMPED.findall(content)
    if len(found) != 1 or _digest(_STAMPED.sub(NO_STAMP.encode(), content)) != found[0]:
        raise DamagedError("damaged: its checksum is not that of its content")


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGITS // 2).hexdigest().encode()
