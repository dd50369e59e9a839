"""C programs on encrypted data, end to end."""

import pytest

import fhe
from fhe import keys

SMALL = """
#include <stdint.h>
typedef struct { uint8_t x, y; } point;
int8_t f(point p, const int8_t table[3], _Bool flip) {
  int8_t best = table[0];
  for (int i = 1; i < 3; i++) if (table[i] > best) best = table[i];
  return flip ? p.x - best : best - p.y;
}
"""
INPUTS = [
    {"p": {"x": 200, "y": 3}, "table": [-5, 90, 17], "flip": 1},
    {"p": {"x": 0, "y": 255}, "table": [-128, -1, -2], "flip": 0},
]


@pytest.fixture(scope="module")
def small():
    return fhe.compile(SMALL)


def meaning(p, table, flip):
    """What a C compiler makes of it."""
    value = p["x"] - max(table) if flip else max(table) - p["y"]
    return (value + 128) % 256 - 128


@pytest.mark.parametrize("inputs", INPUTS)
def test_program_on_encrypted_data(small, toy, inputs):
    client, server = toy
    outputs = fhe.evaluate(small, server, client.encrypt(small, inputs))
    assert client.decrypt(small, outputs) == {"return": meaning(**inputs)}


def test_default_parameters(r64):
    client, server = r64
    circuit = fhe.compile("unsigned char f(unsigned char a) { return a + 77; }")
    outputs = fhe.evaluate(circuit, server, client.encrypt(circuit, [200]))
    assert client.decrypt(circuit, outputs) == {"return": 21}


def test_encryptions_of_one_value_differ(small, toy):
    first, second = (toy[0].encrypt(small, INPUTS[0]) for _ in range(2))
    assert (first != second).mean() > 0.99


def test_batch_is_refused(small, toy):
    with pytest.raises(ValueError, match="batch of 2"):
        toy[0].encrypt(
            small,
            {"p": {"x": [1, 2], "y": [3, 4]}, "table": [1, 2, 3], "flip": 0},
        )


def test_results_of_another_program_are_refused(small, toy):
    client, _ = toy
    with pytest.raises(ValueError, match=r"have 8 bits, got \[5\]"):
        client.decrypt(small, keys.encrypt_bits(client, [0] * 5))


def test_other_parameter_set_is_refused(small, toy, r64):
    outputs = keys.encrypt_bits(r64[0], [0] * 8)
    with pytest.raises(ValueError, match="another parameter set"):
        toy[0].decrypt(small, outputs)
