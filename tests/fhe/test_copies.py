"""Programs on several inputs at once."""

import numpy as np
import pytest

import fhe
from fhe import keys
from fhe.circuit import random_inputs

MIXED = """
struct pair { unsigned char low; short high; };
struct pair f(int a, const short b[3], _Bool c) {
  struct pair out = {a + b[1], c ? b[0] : b[2] * 3};
  return out;
}
"""
CONSTANT = "int f(int a) { return (a & 1) << 2 | 3; }"


@pytest.mark.parametrize("text", [MIXED, CONSTANT, "int f(int a) { return 5; }"])
@pytest.mark.parametrize("copies", [1, 3])
def test_copies_do_not_mix(text, copies):
    circuit = fhe.compile(text)
    wide = fhe.side_by_side(circuit, copies)
    wide.check()
    np.testing.assert_array_equal(wide.widths, copies * circuit.widths)
    inputs = random_inputs(wide, np.random.default_rng(2))
    found = wide.simulate(inputs)
    for c in range(copies):
        one = circuit.simulate({name: x[c] for name, x in inputs.items()})
        for name, value in one.items():
            np.testing.assert_array_equal(found[name][c], value)


def test_copies_of_a_program_run_encrypted(toy):
    client, server = toy
    circuit = fhe.compile(
        "unsigned char f(unsigned char a, unsigned char b) {return a+b;}"
    )
    wide = fhe.side_by_side(circuit, 2)
    inputs = keys.encrypt_bits(client, wide.pack([[3, 250], [4, 9]]))
    outputs = fhe.evaluate(wide, server, inputs)
    assert client.decrypt(wide, outputs)["return"].tolist() == [7, 3]


def test_no_copies_are_refused():
    circuit = fhe.compile(CONSTANT)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        fhe.side_by_side(circuit, 0)
