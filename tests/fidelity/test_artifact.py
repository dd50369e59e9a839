"""The file of a compressed network: exact, small, and loud when damaged."""

import dataclasses
import hashlib
import json
import math
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from fidelity import artifact, prune, quantize
from fidelity.artifact import QTensor, dequantize
from fidelity.quantize import Grid
from fidelity.scheme import chain

DTYPES = ["float32", "float16", "bfloat16", "float64", "int32", "uint8", "bool"]
BITS = list(range(2, 9))


def random_qtensor(seed, bits, shape=(3, 5, 4), axis=-1, zeros=0.0):
    """Integers of all values, with a fraction at the zero point of their channel."""
    rng = np.random.default_rng(seed)
    half = 2 ** (bits - 1)
    values = rng.integers(-half, half, shape).astype(np.int8)
    width = [1] * len(shape)
    if axis is not None and shape:
        width[axis] = shape[axis]
    zero = rng.integers(-half, half, width).astype(np.int32)
    at_zero = rng.uniform(size=shape) < zeros
    values = np.where(at_zero, zero, values).astype(np.int8)
    scale = rng.uniform(0.01, 1, width).astype(np.float32)
    return QTensor(values, scale, zero, bits=bits, axis=axis)


def assert_identical(a, b):
    """Same structure, types and bits, NaN and -0.0 included."""
    if isinstance(a, dict):
        assert isinstance(b, dict)
        assert sorted(a) == sorted(b)
        for key in a:
            assert_identical(a[key], b[key])
    elif isinstance(a, QTensor):
        assert (a.bits, a.axis) == (b.bits, b.axis)
        for field in ("values", "scale", "zero_point"):
            assert_identical(getattr(a, field), getattr(b, field))
    else:
        a = np.asarray(a)
        assert isinstance(b, np.ndarray)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def round_trip(folder, variables, metadata=None):
    path = folder / "network.npz"
    size = artifact.save(path, variables, metadata=metadata or {})
    assert size == path.stat().st_size
    return artifact.load(path)


@st.composite
def arrays(draw):
    """Any bits of any type and shape, with zeros sprinkled in."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    size = math.prod(shape)
    raw = draw(
        st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize)
    )
    if dtype.name == "bool":
        raw = bytes(byte & 1 for byte in raw)
    array = np.frombuffer(raw, dtype).copy()
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    array[rng.uniform(size=size) < draw(st.sampled_from([0.0, 0.5, 0.95]))] = 0
    return array.reshape(shape)


qtensors = st.builds(
    random_qtensor,
    seed=st.integers(0, 99),
    bits=st.sampled_from(BITS),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    axis=st.sampled_from([-1, None]),
    zeros=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
)
trees = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.one_of(arrays(), qtensors),
        lambda child: st.dictionaries(st.text(max_size=4), child, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


@settings(deadline=None, max_examples=150)
@given(trees)
def test_round_trip(tmp_path_factory, variables):
    found, metadata = round_trip(tmp_path_factory.mktemp("a"), variables)
    assert_identical(variables, found)
    assert metadata == {}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("sparse", [False, True])
def test_special_values(tmp_path, dtype, sparse):
    tiny = jnp.finfo(dtype).smallest_subnormal
    values = np.array([-0.0, np.nan, -np.inf, tiny, 1.5]).astype(dtype)
    if sparse:
        values = np.concatenate([values, np.zeros(500, dtype)])
    found, _ = round_trip(tmp_path, {"x": values})
    assert_identical({"x": values}, found)
    assert np.signbit(found["x"][0].astype(np.float32))
    kinds = artifact.size_report(tmp_path / "network.npz")["by_leaf"]
    assert kinds["x"]["kind"] == ("sparse" if sparse else "dense")


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("axis", [-1, 0, None])
@pytest.mark.parametrize("zeros", [0.0, 0.9])
def test_integers_round_trip(tmp_path, bits, axis, zeros):
    q = random_qtensor(bits, bits, (3, 3, 7, 11), axis, zeros)
    found, _ = round_trip(tmp_path, {"kernel": q})
    assert_identical({"kernel": q}, found)


@pytest.mark.parametrize("bits", BITS)
def test_packed_integers_are_the_digits_of_one_number(tmp_path, bits):
    """Against Python's big integers: value i is digit i in base 2^bits."""
    q = random_qtensor(0, bits, (37,), None)
    path = tmp_path / "network.npz"
    artifact.save(path, {"kernel": q}, metadata={})
    number = sum((int(v) % 2**bits) << (bits * i) for i, v in enumerate(q.values))
    expected = number.to_bytes(-(-37 * bits // 8), "little")
    tail = np.asarray(q.scale).tobytes() + np.asarray(q.zero_point).tobytes()
    assert path.read_bytes().endswith(expected + tail)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_what_is_shipped_is_what_was_trained(tmp_path, bits, symmetric, per_channel):
    """Pruned, quantized, written and read: the numbers of the simulated network."""
    grid = Grid(bits, symmetric, per_channel)
    kernel = jax.random.normal(jax.random.key(bits), (3, 3, 8, 16))
    params = {"Conv_0": {"kernel": kernel, "bias": jnp.arange(16.0)}}
    scheme = chain(prune.prune(0.8), quantize.weights(grid))
    simulated = scheme.apply(params, scheme.init(params, params))
    pruned = prune.prune(0.8)
    masked = pruned.apply(params, pruned.init(params, params))
    integers = {"params": quantize.to_integers(masked, grid)}
    found, _ = round_trip(tmp_path, integers)
    real = quantize.from_integers(found)["params"]
    assert_identical(
        jax.tree.map(np.asarray, simulated), jax.tree.map(np.asarray, real)
    )
    report = artifact.size_report(tmp_path / "network.npz")
    kind = report["by_leaf"]["params/Conv_0/kernel"]["kind"]
    assert kind == "sparse packed"


@pytest.mark.parametrize("jit", [False, True])
def test_dequantize(jit):
    q = random_qtensor(3, 5)
    expected = (q.values.astype(np.float64) - q.zero_point) * q.scale
    with jax.disable_jit(not jit):
        got = jax.jit(dequantize)(q)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_sparse_network_is_small(tmp_path):
    rng = np.random.default_rng(0)
    params = {
        f"layer{i}": rng.normal(size=(128, 128)).astype(np.float32) for i in range(4)
    }
    dense = artifact.save(tmp_path / "dense", params, metadata={})
    for w in params.values():
        w[np.abs(w) < np.quantile(np.abs(w), 0.9)] = 0
    sparse = artifact.save(tmp_path / "sparse", params, metadata={})
    assert dense >= 4 * 4 * 128**2
    assert sparse < dense / 5
    nonzero = sum(np.count_nonzero(w) for w in params.values())
    payload = 4 * 128**2 // 8 + 4 * nonzero
    report = artifact.size_report(tmp_path / "sparse")
    assert report["by_kind"]["sparse"] == payload
    assert report["header"] == sparse - payload


@pytest.mark.parametrize("bits", BITS)
def test_integers_cost_their_bits(tmp_path, bits):
    q = random_qtensor(0, bits, (64, 128), zeros=0.0)
    size = artifact.save(tmp_path / "q", {"kernel": q}, metadata={})
    dense = artifact.save(
        tmp_path / "f", {"kernel": np.asarray(dequantize(q)) + 100}, metadata={}
    )
    report = artifact.size_report(tmp_path / "q")
    assert report["by_kind"]["packed"] == 64 * 128 * bits // 8
    assert report["by_leaf"]["kernel"]["dense_bytes"] == 64 * 128 * 4
    # Scales, zero points and the header are the rest.
    assert bits / 32 < size / dense < bits / 32 + 0.06


def test_size_report_adds_up(tmp_path):
    variables = {
        "params": {
            "a/b": np.ones((3, 4), np.float32),
            "a~b": np.zeros(100, np.int32),
            "q": random_qtensor(0, 4, zeros=0.0),
            "s": random_qtensor(0, 8, (20, 20), zeros=0.99),
        },
        "batch_stats": {},
    }
    path = tmp_path / "network.npz"
    total = artifact.save(path, variables, metadata={"sparsity": 0.5})
    report = artifact.size_report(path)
    assert report["total"] == total == path.stat().st_size
    assert report["header"] + sum(report["by_kind"].values()) == total
    leaves = report["by_leaf"]
    assert sum(leaf["bytes"] for leaf in leaves.values()) == total - report["header"]
    assert {name: leaf["kind"] for name, leaf in leaves.items()} == {
        "params/a~1b": "dense",
        "params/a~0b": "sparse",
        "params/q": "packed",
        "params/s": "sparse packed",
    }
    assert leaves["params/a~1b"] == {"kind": "dense", "bytes": 48, "dense_bytes": 48}
    assert leaves["params/a~0b"]["bytes"] == 13


def test_equal_input_gives_equal_bytes(tmp_path):
    w = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    q = random_qtensor(1, 3)
    device = QTensor(
        *(jnp.asarray(x) for x in (q.values, q.scale, q.zero_point)), bits=3, axis=-1
    )
    one, two = tmp_path / "one", tmp_path / "two"
    artifact.save(one, {"b": {"q": q, "w": w}, "a": w.T}, metadata={"x": 1, "y": (2,)})
    artifact.save(
        two,
        {"a": jnp.asarray(w.T), "b": {"w": jnp.asarray(w), "q": device}},
        metadata={"y": [2], "x": 1},
    )
    assert one.read_bytes() == two.read_bytes()
    assert artifact.load(one)[1] == {"x": 1, "y": [2]}


def test_loaded_arrays_are_writable(tmp_path):
    found, _ = round_trip(tmp_path, {"x": np.arange(3.0)})
    found["x"][0] = 7
    assert found["x"].tolist() == [7, 1, 2]


def small_file(folder):
    path = folder / "network.npz"
    q = random_qtensor(0, 4, (4,), None)
    artifact.save(path, {"w": np.float32([1, 2, 3]), "q": q}, metadata={"a": 1})
    return path, path.read_bytes()


def test_every_damaged_byte_is_noticed(tmp_path):
    path, data = small_file(tmp_path)
    for i in range(len(data)):
        broken = bytearray(data)
        broken[i] ^= 1 << (i % 8)
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"network\.npz") as caught:
            artifact.load(path)
        assert "write it again" in str(caught.value) or "give a file" in str(
            caught.value
        )


def test_every_truncation_is_noticed(tmp_path):
    path, data = small_file(tmp_path)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"network\.npz"):
            artifact.load(path)
        with pytest.raises(ValueError, match=r"network\.npz"):
            artifact.size_report(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(ValueError, match=f"{len(data) + 1} bytes .* says {len(data)}"):
        artifact.load(path)


def test_foreign_files(tmp_path):
    path = tmp_path / "network.npz"
    np.savez(path, x=np.arange(3))
    with pytest.raises(ValueError, match="not a compressed network: give a file"):
        artifact.load(path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        artifact.load(tmp_path / "nothing")


def resign(data, header):
    """The file with another header and a right checksum."""
    magic, version, size, payload = struct.unpack_from("<8sIIQ", data)
    rest = data[24 + 32 + size :]
    fields = struct.pack("<8sIIQ", magic, version, len(header), payload)
    return fields + hashlib.sha256(fields + header + rest).digest() + header + rest


def test_another_version(tmp_path):
    path, data = small_file(tmp_path)
    path.write_bytes(data[:8] + struct.pack("<I", 2) + data[12:])
    with pytest.raises(ValueError, match="version 2, this release reads 1"):
        artifact.load(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("dtype", "object"), ("shape", [4]), ("bytes", 4), ("bytes", 900), ("kind", None)],
)
def test_a_header_that_lies(tmp_path, field, value):
    path, data = small_file(tmp_path)
    size = struct.unpack_from("<I", data, 12)[0]
    header = json.loads(data[56 : 56 + size])
    header["leaves"][1]["parts"][0][field] = value
    if value is None:
        del header["leaves"][1]["parts"][0]["shape"]
    path.write_bytes(resign(data, json.dumps(header).encode()))
    with pytest.raises(ValueError, match="does not describe the contents"):
        artifact.load(path)
    path.write_bytes(resign(data, b"{"))
    with pytest.raises(ValueError, match="no readable header"):
        artifact.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path, data = small_file(tmp_path)

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        artifact.save(path, {"w": np.zeros(3)}, metadata={})
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (np.zeros(3), "must be a dictionary"),
        ({"a": {1: np.zeros(3)}}, "a: keys must be strings, got 1"),
        ({"a": {"b": [1.0, 2.0]}}, "a/b: cannot store"),
        ({"a": None}, "a: cannot store"),
        ({"a": "text"}, "a: cannot store"),
        ({"a": jax.random.key(0)}, "a: cannot store"),
        ({"a": np.zeros(2, ">f4")}, "a: cannot store"),
    ],
)
def test_what_cannot_be_stored(tmp_path, variables, message):
    with pytest.raises(ValueError, match=message):
        artifact.save(tmp_path / "x", variables, metadata={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 9}, "bits must be 2 to 8, got 9"),
        ({"bits": 3}, "do not fit into 3 bits, which hold -4 to 3"),
        ({"values": np.zeros(3, np.int32)}, "values must be int8, got int32"),
        ({"scale": np.ones(5, np.float32)}, r"scale \(5,\) does not broadcast"),
        ({"zero_point": np.ones((2, 1), np.int32)}, r"zero_point \(2, 1\) does not"),
    ],
)
def test_invalid_integers(tmp_path, change, message):
    good = QTensor(np.int8([-8, 7, 0]), np.float32(1), np.int32(0), bits=4, axis=None)
    artifact.save(tmp_path / "good", {"q": good}, metadata={})
    bad = dataclasses.replace(good, **change)
    with pytest.raises(ValueError, match=f"q: {message}|q: .*{message}"):
        artifact.save(tmp_path / "bad", {"q": bad}, metadata={})


@pytest.mark.parametrize("metadata", [{"a": float("nan")}, {"a": object()}, {"a": {1}}])
def test_metadata_must_be_json(tmp_path, metadata):
    with pytest.raises(ValueError, match="metadata must be JSON"):
        artifact.save(tmp_path / "x", {}, metadata=metadata)
