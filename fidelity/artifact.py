"""A compressed network as one small file to deploy.

Zeros cost one bit, integers their bit width, everything else what it costs in memory;
see `fidelity.packing`.
Layout of a file, little endian: magic (8 bytes), format version (4), length of the
header (4), length of the payload (8), SHA-256 of everything but itself (32), header
(JSON: metadata, and how each leaf is stored), payload (the leaves end to end). Equal
input gives equal bytes, and nothing in a file is ever executed.
"""

import hashlib
import io
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np

from fidelity import packing

VERSION = 1
_MAGIC = b"\x89FIDNET\n"
_FIELDS = struct.Struct("<8sIIQ")
_PREFIX = _FIELDS.size + hashlib.sha256().digest_size


@flax.struct.dataclass
class QTensor:
    """Integers with the affine map to real numbers, `(values - zero_point) * scale`.

    `scale` and `zero_point` have as many axes as `values`, of size 1 except `axis`, or
    none at all.
    """

    values: jax.Array  # int8, in [-2^(bits - 1), 2^(bits - 1))
    scale: jax.Array  # float32
    zero_point: jax.Array  # int32
    bits: int = flax.struct.field(pytree_node=False)  # 2 to 8
    axis: int | None = flax.struct.field(pytree_node=False)  # None: one scale in all


def dequantize(q: QTensor) -> jax.Array:
    """The real numbers of a `QTensor`, float32, shaped like `q.values`.

    Example:
        >>> q = QTensor(jnp.array([-3, 0, 1], jnp.int8), jnp.float32(0.5),
        ...             jnp.int32(1), bits=3, axis=None)
        >>> dequantize(q).tolist()
        [-2.0, -0.5, 0.0]
    """
    steps = jnp.asarray(q.values, jnp.int32) - jnp.asarray(q.zero_point, jnp.int32)
    return steps.astype(jnp.float32) * jnp.asarray(q.scale, jnp.float32)


def save(
    path: str | Path, variables: Mapping[str, Any], *, metadata: Mapping[str, Any]
) -> int:
    """Writes a network. The file appears whole or not at all.

    Args:
        path: file to write; its folder is made if missing.
        variables: nested dictionaries with string keys; leaves are arrays of any shape
            and numeric type, or `QTensor`.
        metadata: JSON-serialisable, e.g. the recipe; tuples come back as lists.

    Returns:
        Size of the file in bytes.

    Raises:
        ValueError: a node that is neither a dictionary, an array nor a valid `QTensor`,
            or metadata that JSON cannot hold.

    Example:
        >>> import tempfile
        >>> kernel = np.eye(64, dtype=np.float32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     size = save(f"{folder}/net", {"params": {"kernel": kernel}},
        ...                 metadata={"sparsity": 0.98})
        ...     variables, metadata = load(f"{folder}/net")
        >>> size < kernel.nbytes / 10, metadata
        (True, {'sparsity': 0.98})
    """
    path = Path(path)
    if not isinstance(variables, Mapping):
        raise ValueError(f"variables must be a dictionary, got {type(variables)}")
    entries, blobs = [], []
    for keys, leaf in _leaves((), variables):
        entry, parts = _encode_leaf(keys, leaf)
        entries.append({"path": list(keys), **entry})
        blobs.extend(parts)
    try:
        text = json.dumps(
            {"metadata": dict(metadata), "leaves": entries},
            sort_keys=True,
            allow_nan=False,
            separators=(",", ":"),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metadata must be JSON-serialisable and finite: {error}"
        ) from error
    header, payload = text.encode(), b"".join(blobs)
    fields = _FIELDS.pack(_MAGIC, VERSION, len(header), len(payload))
    digest = hashlib.sha256(fields + header + payload).digest()
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename is atomic only within a file system.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(fields + digest + header + payload)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return _PREFIX + len(header) + len(payload)


def load(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a network that `save` wrote.

    Args:
        path: the file.

    Returns:
        `(variables, metadata)`. Leaves are NumPy arrays, equal to the saved ones to the
        last bit, or `QTensor` of such; `jax.device_put` moves them to a device, and
        `fidelity.quantize.from_integers` gives real numbers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, truncated, written by a newer release, or
            something else.
    """
    header, payload = _read(Path(path))
    variables: dict[str, Any] = {}
    try:
        stream = io.BytesIO(payload)
        for entry in header["leaves"]:
            if not entry["path"]:  # the whole tree is one empty dictionary
                continue
            *parents, name = entry["path"]
            node = variables
            for key in parents:
                node = node.setdefault(key, {})
            node[name] = _decode_leaf(entry, stream)
        if stream.read(1):
            raise ValueError("bytes are left over")
        return variables, header["metadata"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: the header does not describe the contents ({error}); write the "
            "file again with fidelity.artifact.save"
        ) from error


def size_report(path: str | Path) -> dict[str, Any]:
    """Where the bytes of a file are.

    Args:
        path: the file.

    Returns:
        `total` (size of the file), `header` (all but the leaves), `by_kind` (bytes by
        way of storage; its values and `header` sum to `total`), and `by_leaf`: for each
        path, joined by "/", `kind`, `bytes` (scales and zero points included) and
        `dense_bytes` (as an uncompressed array; float32 in place of integers). A "/"
        within a name is written "~1", a "~" is written "~0".

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    header, payload = _read(Path(path))
    by_kind = dict.fromkeys(packing.KINDS, 0)
    by_leaf: dict[str, dict[str, Any]] = {}
    for entry in header["leaves"]:
        parts = entry["parts"]
        if not parts:
            continue
        for part in parts:
            by_kind[part["kind"]] += part["bytes"]
        size = math.prod(parts[0]["shape"])
        wide = 4 if "bits" in entry else np.dtype(parts[0]["dtype"]).itemsize
        escaped = [key.replace("~", "~0").replace("/", "~1") for key in entry["path"]]
        by_leaf["/".join(escaped)] = {
            "kind": parts[0]["kind"],
            "bytes": sum(part["bytes"] for part in parts),
            "dense_bytes": wide * size,
        }
    total = Path(path).stat().st_size
    header_bytes = total - len(payload)
    return {
        "total": total,
        "header": header_bytes,
        "by_kind": by_kind,
        "by_leaf": by_leaf,
    }


def _leaves(keys: tuple[str, ...], node: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Leaves and empty dictionaries, sorted, so that insertion order is no matter."""
    if not isinstance(node, Mapping) or not node:
        yield keys, node
        return
    for key in node:
        if not isinstance(key, str):
            raise ValueError(f"{'/'.join(keys)}: keys must be strings, got {key!r}")
    for key in sorted(node):
        yield from _leaves((*keys, key), node[key])


def _encode_leaf(
    keys: tuple[str, ...], leaf: Any
) -> tuple[dict[str, Any], list[bytes]]:
    """Header entry and bytes of a leaf."""
    where = "/".join(keys)
    if isinstance(leaf, Mapping):
        return {"parts": []}, []
    if not isinstance(leaf, QTensor):
        part, blob = packing.encode(_as_numeric(where, leaf))
        return {"parts": [part]}, [blob]
    values, scale, zero = (
        _as_numeric(where, x) for x in (leaf.values, leaf.scale, leaf.zero_point)
    )
    _check_integers(where, leaf, values, scale, zero)
    encoded = [
        packing.encode_integers(values, zero, leaf.bits),
        packing.encode(scale),
        packing.encode(zero),
    ]
    parts = [part for part, _ in encoded]
    entry = {"bits": leaf.bits, "axis": leaf.axis, "parts": parts}
    return entry, [blob for _, blob in encoded]


def _decode_leaf(entry: dict[str, Any], stream: io.BytesIO) -> Any:
    """The next leaf of a payload."""
    parts = entry["parts"]
    if not parts:
        return {}
    blobs = [stream.read(part["bytes"]) for part in parts]
    if [len(blob) for blob in blobs] != [part["bytes"] for part in parts]:
        raise ValueError("leaves reach beyond the end")
    if "bits" not in entry:
        return packing.decode(parts[0], blobs[0])
    scale, zero = packing.decode(parts[1], blobs[1]), packing.decode(parts[2], blobs[2])
    values = packing.decode_integers(parts[0], blobs[0], zero, entry["bits"])
    return QTensor(values, scale, zero, bits=entry["bits"], axis=entry["axis"])  # type: ignore[arg-type]


def _as_numeric(where: str, leaf: Any) -> np.ndarray:
    advice = "leaves must be numeric arrays or QTensor, in nested dictionaries"
    try:
        array = np.asarray(leaf)
        known = np.dtype(array.dtype.name) == array.dtype
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: cannot store {type(leaf)}: {advice}") from error
    if isinstance(leaf, (list, tuple)) or not known or array.dtype.kind not in "biufcV":
        raise ValueError(f"{where}: cannot store {type(leaf)}: {advice}")
    return array


def _check_integers(
    where: str, q: QTensor, values: np.ndarray, scale: np.ndarray, zero: np.ndarray
) -> None:
    if not 2 <= q.bits <= 8:
        raise ValueError(f"{where}: bits must be 2 to 8, got {q.bits}")
    if values.dtype != np.int8:
        raise ValueError(f"{where}: values must be int8, got {values.dtype}")
    half = 2 ** (q.bits - 1)
    if values.size and not -half <= values.min() <= values.max() < half:
        raise ValueError(
            f"{where}: values from {values.min()} to {values.max()} do not fit into "
            f"{q.bits} bits, which hold {-half} to {half - 1}"
        )
    for name, array in (("scale", scale), ("zero_point", zero)):
        try:
            fits = np.broadcast_shapes(array.shape, values.shape) == values.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"{where}: {name} {array.shape} does not broadcast to the values' "
                f"shape {values.shape}"
            )


class _Contents(NamedTuple):
    """A file after all checks."""

    header: dict[str, Any]
    payload: bytes


def _read(path: Path) -> _Contents:
    """Header and payload of a file whose checksum is right."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no network at {path}: give a file written by fidelity.artifact.save"
        )
    data = path.read_bytes()
    again = "copy it again from its source, or write it again"
    if not data.startswith(_MAGIC[: len(data)]) or not data:
        raise ValueError(
            f"{path} is not a compressed network: give a file written by "
            "fidelity.artifact.save"
        )
    if len(data) < _PREFIX:
        raise ValueError(f"{path} is truncated to {len(data)} bytes: {again}")
    _, version, header_size, payload_size = _FIELDS.unpack_from(data)
    if version != VERSION:
        raise ValueError(
            f"{path} has format version {version}, this release reads {VERSION}: use "
            "the release that wrote it, or write it again"
        )
    expected = _PREFIX + header_size + payload_size
    if len(data) != expected:
        raise ValueError(
            f"{path} has {len(data)} bytes where its header says {expected}: {again}"
        )
    digest, rest = data[_FIELDS.size : _PREFIX], data[_PREFIX:]
    if hashlib.sha256(data[: _FIELDS.size] + rest).digest() != digest:
        raise ValueError(f"{path} is damaged, its checksum is wrong: {again}")
    try:
        header = json.loads(rest[:header_size])
    except ValueError as error:
        raise ValueError(f"{path} has no readable header: {again}") from error
    return _Contents(header, rest[header_size:])
