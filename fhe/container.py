"""Files of named arrays with a version and a checksum.

Layout: 8 bytes of magic, version (uint32), length of the header (uint32), header
(JSON), arrays in the header's order, SHA-256 of all before. Little-endian.
"""

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

_MAGIC = b"TRIPTFHE"
VERSION = 1


class DamagedFileError(ValueError):
    """A file that is cut, changed, or not of this library."""


def save(
    path: str | Path,
    kind: str,
    facts: dict[str, Any],
    arrays: dict[str, np.ndarray],
    *,
    private: bool = False,
) -> None:
    """Writes a file whole or not at all.

    Args:
        path: where.
        kind: what the file holds; `load` asks for the same.
        facts: anything JSON can write.
        arrays: NumPy arrays.
        private: readable by its owner only.
    """
    ordered = {
        name: np.ascontiguousarray(a, a.dtype.newbyteorder("<"))
        for name, a in arrays.items()
    }
    layout = [[n, a.dtype.str, list(a.shape)] for n, a in ordered.items()]
    header = json.dumps({"kind": kind, "facts": facts, "arrays": layout}).encode()
    parts = [_MAGIC, struct.pack("<II", VERSION, len(header)), header]
    parts += [a.tobytes() for a in ordered.values()]
    digest = hashlib.sha256()
    partial = Path(f"{path}.partial")
    # Created with its final mode: a secret is not readable for an instant either.
    mode = 0o600 if private else 0o666
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
        for part in parts:
            digest.update(part)
            f.write(part)
        f.write(digest.digest())
    partial.replace(path)


def load(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads what `save` wrote.

    Returns:
        The facts and the arrays.

    Raises:
        DamagedFileError: the file is cut, changed, or of another program.
        ValueError: the file holds another kind, or is of a newer version.
    """
    data = Path(path).read_bytes()
    if len(data) < 48 or data[:8] != _MAGIC:
        raise DamagedFileError(f"{path} is not a file of this library")
    version, length = struct.unpack_from("<II", data, 8)
    # Before the checksum, whose place another version may change.
    if version != VERSION:
        raise ValueError(
            f"{path} has format version {version}, this library reads {VERSION}; "
            "write it again with the same version on both sides"
        )
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise DamagedFileError(f"{path} is damaged: its SHA-256 does not match")
    header = json.loads(data[16 : 16 + length])
    if header["kind"] != kind:
        raise ValueError(f"{path} holds a {header['kind']}, not a {kind}")
    arrays, offset = {}, 16 + length
    for name, dtype, shape in header["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(data, np.dtype(dtype), count, offset).reshape(shape)
        arrays[name] = array.astype(array.dtype.newbyteorder("="))
        offset += array.nbytes
    return header["facts"], arrays
