"""Arrays as few bytes: sparse arrays behind a bit mask, integers at their bit width.

Four ways to store an array; the cheaper of the two that apply is taken:

    dense          the bytes as they are
    sparse         one bit an element says where the nonzero elements are; then these
    packed         integers of b bits, end to end
    sparse packed  one bit an element, then the packed integers that are not zero

An encoder gives `(part, blob)`: a JSON-serialisable description with the keys `kind`,
`shape`, `bytes` (and `dtype`), and the bytes. The decoder of the same name takes both.
Little endian, as every host that JAX supports.
"""

import math
from typing import Any

import numpy as np

KINDS = ("dense", "sparse", "packed", "sparse packed")

Part = dict[str, Any]


def encode(array: np.ndarray) -> tuple[Part, bytes]:
    """A numeric array, dense or sparse.

    Only elements whose bits are all zero count as zero, so that -0.0 stays.

    Args:
        array: any shape and numeric type, bfloat16 included.

    Example:
        >>> part, blob = encode(np.zeros(64, np.float32))
        >>> part["kind"], len(blob)
        ('sparse', 8)
        >>> decode(part, blob).shape
        (64,)
    """
    dense = array.tobytes()
    rows = np.frombuffer(dense, np.uint8).reshape(array.size, array.itemsize)
    present = np.any(rows, axis=1)
    sparse = _bits_to_bytes(present) + rows[present].tobytes()
    small = len(sparse) < len(dense)
    kind, blob = ("sparse", sparse) if small else ("dense", dense)
    part = {
        "kind": kind,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "bytes": len(blob),
    }
    return part, blob


def decode(part: Part, blob: bytes) -> np.ndarray:
    """The array of `encode`, equal to the last bit.

    Raises:
        ValueError, TypeError: the bytes do not fit the description.
    """
    dtype, shape = np.dtype(part["dtype"]), tuple(part["shape"])
    if part["kind"] == "sparse":
        present, rest = _split_mask(blob, math.prod(shape))
        rows = np.zeros((present.size, dtype.itemsize), np.uint8)
        rows[present] = np.frombuffer(rest, np.uint8).reshape(-1, dtype.itemsize)
        blob = rows.tobytes()
    # The copy makes the array writable, like any other.
    return np.frombuffer(blob, dtype).reshape(shape).copy()


def encode_integers(
    values: np.ndarray, zero: np.ndarray, bits: int
) -> tuple[Part, bytes]:
    """Integers of `bits` bits; an integer at its zero point is a real zero.

    Args:
        values: int8, in `[-2^(bits - 1), 2^(bits - 1))`.
        zero: integers, broadcastable to `values`.
        bits: 2 to 8.

    Example:
        >>> part, blob = encode_integers(np.int8([-8, 7, 1, 2]), np.int32(0), 4)
        >>> part["kind"], blob.hex()
        ('packed', '7821')
    """
    flat = values.reshape(-1)
    present = flat != np.broadcast_to(zero, values.shape).reshape(-1)
    packed = _pack(flat, bits)
    sparse = _bits_to_bytes(present) + _pack(flat[present], bits)
    small = len(sparse) < len(packed)
    kind, blob = ("sparse packed", sparse) if small else ("packed", packed)
    return {"kind": kind, "shape": list(values.shape), "bytes": len(blob)}, blob


def decode_integers(part: Part, blob: bytes, zero: np.ndarray, bits: int) -> np.ndarray:
    """The integers of `encode_integers`, int8.

    Raises:
        ValueError, TypeError: the bytes do not fit the description.
    """
    shape = tuple(part["shape"])
    size = math.prod(shape)
    if part["kind"] == "packed":
        return _unpack(blob, size, bits).reshape(shape)
    present, rest = _split_mask(blob, size)
    # Where the mask says zero, the zero point is in range: a value equalled it.
    values = np.broadcast_to(zero, shape).reshape(-1).astype(np.int8)
    values[present] = _unpack(rest, int(present.sum()), bits)
    return values.reshape(shape)


def _bits_to_bytes(bits: np.ndarray) -> bytes:
    return np.packbits(bits, bitorder="little").tobytes()


def _split_mask(blob: bytes, size: int) -> tuple[np.ndarray, bytes]:
    """A mask of `size` bits, and the bytes after it."""
    end = -(-size // 8)
    mask = np.frombuffer(blob[:end], np.uint8)
    present = np.unpackbits(mask, count=size, bitorder="little").astype(bool)
    return present, blob[end:]


def _pack(values: np.ndarray, bits: int) -> bytes:
    """Signed integers of `bits` bits, low bit first, `8 / bits` a byte."""
    columns = np.unpackbits(values.view(np.uint8)[:, None], axis=1, bitorder="little")
    return _bits_to_bytes(columns[:, :bits].reshape(-1))


def _unpack(blob: bytes, size: int, bits: int) -> np.ndarray:
    stream = np.unpackbits(
        np.frombuffer(blob, np.uint8), count=size * bits, bitorder="little"
    )
    codes = np.packbits(stream.reshape(size, bits), axis=1, bitorder="little")
    shift = 8 - bits  # moves the sign bit to the top and back, to extend it
    return (codes.reshape(-1) << shift).view(np.int8) >> shift
