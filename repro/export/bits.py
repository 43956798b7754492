"""Codes of any width as a stream of bits, so that two 4-bit codes share a byte."""

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int8]


def code_range(bit_width: int) -> tuple[int, int]:
    """Lowest and highest code that ``bit_width`` bits hold in two's complement."""
    half = 1 << (bit_width - 1)
    return -half, half - 1


def pack_codes(codes: Codes, bit_width: int) -> Bytes:
    """Codes as a little-endian stream of bits.

    Code i takes the bits from ``i * bit_width`` on, lowest bit first, in two's complement; bit k of the
    stream is bit ``k % 8`` of byte ``k // 8``. With 4 bits the first code of a byte is its low half, as
    ONNX stores INT4; with 3 bits a code may lie across two bytes. Unused bits of the last byte are 0.

    Args:
        codes: Any shape, taken in row-major order; each fits ``bit_width`` bits.
        bit_width: 1 to 8.

    Returns:
        ``ceil(codes.size * bit_width / 8)`` bytes.
    """
    bits = np.unpackbits(codes.astype(np.uint8).reshape(-1, 1), axis=1, count=bit_width, bitorder="little")
    return np.packbits(bits, bitorder="little")


def unpack_codes(packed: Bytes, count: int, bit_width: int) -> Codes:
    """The ``count`` codes that ``pack_codes`` packed.

    Args:
        packed: At least ``ceil(count * bit_width / 8)`` bytes.
        count: Number of codes.
        bit_width: 1 to 8.
    """
    bits = np.unpackbits(packed, count=count * bit_width, bitorder="little").reshape(count, bit_width)
    codes = np.packbits(bits, axis=1, bitorder="little").ravel()
    sign = np.uint8(1 << (bit_width - 1))
    return ((codes ^ sign) - sign).view(np.int8)  # wraps around: the bits above a negative code become ones
