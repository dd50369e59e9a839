"""Packing, simulation and checks of circuits."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fhe.circuit import Circuit, Port, Signature
from fhe.compiler import compile as compile_c


def one_gate(offset: int, weights: tuple[int, ...]) -> Circuit:
    bits = tuple(Port(name, "_Bool", 1, False) for name in "abc")
    return Circuit(
        num_inputs=3,
        operands=np.array([[0, 1, 2]], np.int32),
        weights=np.array([weights], np.int8),
        offset=np.array([offset], np.int8),
        level_starts=np.array([0, 1], np.int32),
        outputs=np.array([3], np.int32),
        output_negate=np.array([False]),
        output_constant=np.array([-1], np.int8),
        signature=Signature(bits, (Port("return", "_Bool", 1, False),)),
    )


@pytest.mark.parametrize(
    ("offset", "weights", "function", "kind"),
    [
        (1, (-1, -1, 0), lambda a, b, c: not (a and b), "and2"),
        (-1, (1, 1, 0), lambda a, b, c: a and b, "and2"),
        (1, (1, 1, 0), lambda a, b, c: a or b, "and2"),
        (-1, (-1, 1, 0), lambda a, b, c: not a and b, "and2"),
        (2, (2, 2, 0), lambda a, b, c: a != b, "xor2"),
        (-2, (-2, -2, 0), lambda a, b, c: a == b, "xor2"),
        (0, (1, 1, 1), lambda a, b, c: a + b + c >= 2, "maj3"),
        (0, (-2, -2, -2), lambda a, b, c: (a + b + c) % 2 == 1, "xor3"),
        (2, (-1, -1, -1), lambda a, b, c: not a == b == c, "nae3"),
        (1, (2, 1, 1), lambda a, b, c: a != (b and c), "ax3"),
    ],
)
def test_gate_by_truth_table(
    offset: int, weights: tuple[int, ...], function: Any, kind: str
) -> None:
    circuit = one_gate(offset, weights)
    circuit.check()
    assert circuit.counts == {kind: 1}
    rows = np.array([*itertools.product((False, True), repeat=3)])
    expected = [function(*map(int, row)) for row in rows]
    np.testing.assert_array_equal(circuit.evaluate_bits(rows)[:, 0], expected)


def port_and_value() -> Any:
    def values(width: int, signed: bool) -> Any:
        low = -(1 << (width - 1)) if signed else 0
        return st.tuples(
            st.just(Port("x", "int", width, signed)),
            st.integers(low, low + (1 << width) - 1),
        )

    return st.tuples(st.integers(1, 100), st.booleans()).flatmap(lambda p: values(*p))


def identity(port: Port) -> Circuit:
    return Circuit(
        num_inputs=port.bits,
        operands=np.zeros((0, 3), np.int32),
        weights=np.zeros((0, 3), np.int8),
        offset=np.zeros(0, np.int8),
        level_starts=np.zeros(1, np.int32),
        outputs=np.arange(port.bits, dtype=np.int32),
        output_negate=np.zeros(port.bits, bool),
        output_constant=np.full(port.bits, -1, np.int8),
        signature=Signature((port,), (dataclasses.replace(port, name="y"),)),
    )


@settings(deadline=None)
@given(port_and_value())
def test_pack_and_unpack_are_inverse(drawn: tuple[Port, int]) -> None:
    port, value = drawn
    circuit = identity(port)
    bits = circuit.pack([value])
    assert bits.tolist() == [bool(value >> i & 1) for i in range(port.width)]
    assert circuit.simulate({"x": value}) == {"y": value}


@pytest.mark.parametrize("batch", [None, 1, 5])
@pytest.mark.parametrize(
    ("width", "signed"), [(1, False), (8, True), (64, False), (70, True)]
)
def test_arrays_and_batches(batch: int | None, width: int, signed: bool) -> None:
    circuit = identity(Port("x", "t", width, signed, (2, 3)))
    shape = (2, 3) if batch is None else (batch, 2, 3)
    values = np.arange(int(np.prod(shape))).reshape(shape) % 2 ** min(width, 6)
    if signed:
        values = values - 5
    result = circuit.simulate({"x": values})["y"]
    assert result.shape == shape
    assert result.dtype == circuit.signature.results[0].dtype
    np.testing.assert_array_equal(result.astype(int), values)


def test_batch_of_one_parameter_is_broadcast_to_the_others() -> None:
    circuit = compile_c("int f(int a, int b) { return a - b; }")
    np.testing.assert_array_equal(
        circuit.simulate({"a": np.arange(4), "b": 1})["return"], [-1, 0, 1, 2]
    )


def test_fields_nested_or_dotted() -> None:
    source = "struct p { int x, y; }; int f(struct p p) { return p.x - p.y; }"
    circuit = compile_c(source)
    expected = {"return": -4}
    assert circuit.simulate({"p": {"x": 3, "y": 7}}) == expected
    assert circuit.simulate({"p.x": 3, "p.y": 7}) == expected
    assert circuit.simulate([3, 7]) == expected


def test_constant_and_copied_outputs() -> None:
    circuit = compile_c(
        "void f(_Bool a, _Bool r[3]) { r[0] = 1; r[1] = !a; r[2] = a; }"
    )
    assert circuit.num_bootstraps == circuit.depth == 0
    assert circuit.output_constant.tolist() == [1, -1, -1]
    np.testing.assert_array_equal(circuit.simulate([True])["r"], [True, False, True])


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"a": 1}, "missing values \\['b'\\]"),
        ({"a": 1, "b": [1, 2], "c": 3}, "unknown names \\['c'\\]"),
        ({"a": 128, "b": [1, 2]}, "holds -128 to 127; got 128"),
        ({"a": 1, "b": [1, 2, 3]}, "got shape \\(3,\\)"),
        ({"a": 1.5, "b": [1, 2]}, "needs integers"),
        ([1], "1 values for"),
    ],
)
def test_bad_inputs(inputs: Any, reason: str) -> None:
    circuit = compile_c("int f(signed char a, int b[2]) { return a + b[0] + b[1]; }")
    with pytest.raises(ValueError, match=reason):
        circuit.pack(inputs)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"operands": np.array([[0, 1, 3]], np.int32)}, "earlier level"),
        ({"weights": np.array([[1, 1, 3]], np.int8)}, "no known kind"),
        ({"weights": np.zeros((1, 2), np.int8)}, "gates, 3"),
        ({"level_starts": np.array([0, 0, 1], np.int32)}, "level_starts"),
        ({"outputs": np.array([4], np.int32)}, "does not exist"),
        ({"num_inputs": 2}, "earlier level|inputs"),
        ({"outputs": np.array([3, 3], np.int32)}, "outputs|broadcast"),
    ],
)
def test_check_finds_damage(change: dict, reason: str) -> None:
    circuit = dataclasses.replace(one_gate(0, (1, 1, 1)), **change)
    if "outputs" in change:
        size = len(change["outputs"])
        circuit = dataclasses.replace(
            circuit,
            output_constant=np.full(size, -1, np.int8),
            output_negate=np.zeros(size, bool),
        )
    with pytest.raises(ValueError, match=reason):
        circuit.check()


def test_levels_read_only_earlier_levels() -> None:
    circuit = compile_c("int f(int a, int b) { return a * b / 3; }")
    circuit.check()
    level = np.repeat(np.arange(circuit.depth), circuit.widths)
    inputs = np.full(circuit.num_inputs, -1)
    of_wire = np.concatenate([inputs, level])
    read = np.where(circuit.weights != 0, of_wire[circuit.operands], -1)
    assert (read.max(axis=1) < level).all()
    assert (
        circuit.widths.sum() == circuit.num_bootstraps == sum(circuit.counts.values())
    )
