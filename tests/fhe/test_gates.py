"""Gates as signs of sums: truth tables in the clear and encrypted."""

import itertools

import numpy as np
import pytest

from fhe import gates, keys
from fhe.batch import level

MEANING = {
    "and": lambda a, b: a & b,
    "nand": lambda a, b: not (a & b),
    "or": lambda a, b: a | b,
    "nor": lambda a, b: not (a | b),
    "xor": lambda a, b: a ^ b,
    "xnor": lambda a, b: a == b,
    "andny": lambda a, b: (not a) & b,
    "andyn": lambda a, b: a & (not b),
    "orny": lambda a, b: (not a) | b,
    "oryn": lambda a, b: a | (not b),
    "maj3": lambda a, b, c: a + b + c >= 2,
    "xor3": lambda a, b, c: a ^ b ^ c,
    "xnor3": lambda a, b, c: not (a ^ b ^ c),
    "nae3": lambda a, b, c: not a == b == c,
    "ae3": lambda a, b, c: a == b == c,
    "xor_and": lambda a, b, c: a ^ (b & c),
}


def meaning(gate):
    inputs = itertools.product((False, True), repeat=len(gate.weights))
    return tuple(bool(MEANING[gate.name](*bits)) for bits in inputs)


def test_every_gate_has_a_meaning():
    assert set(MEANING) == set(gates.GATES)


@pytest.mark.parametrize("name", MEANING)
def test_truth_tables(name):
    assert gates.truth_table(gates.gate(name)) == meaning(gates.gate(name))


@pytest.mark.parametrize("name", MEANING)
def test_inversions_are_signs(name):
    gate = gates.gate(name)
    table = gates.truth_table(gate)
    inverted = gates.truth_table(gates.invert_output(gate))
    assert inverted == tuple(not t for t in table)
    size = len(gate.weights)
    for i in range(size):
        flipped = gates.truth_table(gates.invert_input(gate, i))
        assert flipped == tuple(
            table[j ^ (1 << (size - 1 - i))] for j in range(2**size)
        )


def test_eighty_functions_of_three_inputs():
    """Weights up to 3 reach 80 of the 256 functions, and all of two inputs."""
    found = {2: set(), 3: set()}
    for size, tables in found.items():
        for *weights, offset in itertools.product(range(-3, 4), repeat=size + 1):
            gate = gates.Gate("", tuple(weights), offset)
            if gates.margin(gate):
                tables.add(gates.truth_table(gate))
    assert len(found[2]) == 16
    assert len(found[3]) == 80


def test_undefined_signs_are_refused():
    with pytest.raises(ValueError, match="undefined"):
        gates.truth_table(gates.Gate("sum", (1, 1), 0))
    with pytest.raises(ValueError, match="'imply' is not one of"):
        gates.gate("imply")


def test_encrypted_truth_tables(r64):
    """Every gate on every input, all kinds in one bootstrap of the default set."""
    client, server = r64
    cases = [
        (gate, bits)
        for gate in gates.GATES.values()
        for bits in itertools.product((0, 1), repeat=len(gate.weights))
    ]
    chosen = [gate for gate, _ in cases]
    bits = np.array([(*bits, 1)[:3] for _, bits in cases])
    found = level(server, chosen, keys.encrypt_bits(client, bits))()
    want = [MEANING[gate.name](*bits) for gate, bits in cases]
    np.testing.assert_array_equal(keys.decrypt_bits(client, found), want)
