"""Gates on arrays of encrypted bits."""

import dataclasses
import itertools

import numpy as np
import pytest

from fhe import batch, gates, keys, params, polynomial

ALL = np.array(list(itertools.product((0, 1), repeat=3)))


@pytest.mark.parametrize("method", sorted(polynomial.METHODS))
@pytest.mark.parametrize("gate", [gates.NAND, gates.MAJ3])
def test_apply_gate(gate, method, toy):
    client, server = toy
    inputs = [keys.encrypt_bits(client, ALL[:, i]) for i in range(len(gate.weights))]
    found = batch.apply_gate(server, gate, *inputs, method=method)
    table = gates.truth_table(gate)
    size = len(gate.weights)
    want = [table[int("".join(map(str, row[:size])), 2)] for row in ALL]
    np.testing.assert_array_equal(keys.decrypt_bits(client, found), want)


@pytest.mark.parametrize("order", ["ks-pbs", "pbs-ks"])
def test_multiplex_and_a_gate_on_its_result(order):
    sizes = dataclasses.replace(params.TOY, order=order)
    client, server = keys.keygen(sizes, allow_insecure=True, insecure_test_seed=2)
    a, b, c = (keys.encrypt_bits(client, ALL[:, i]) for i in range(3))
    chosen = batch.multiplex(server, a, b, c)
    want = np.where(ALL[:, 0], ALL[:, 1], ALL[:, 2]).astype(bool)
    np.testing.assert_array_equal(keys.decrypt_bits(client, chosen), want)
    both = batch.apply_gate(server, gates.AND, chosen, batch.invert(a))
    want &= ~ALL[:, 0].astype(bool)
    np.testing.assert_array_equal(keys.decrypt_bits(client, both), want)


def test_gates_and_inputs_must_agree(toy):
    client, server = toy
    bit = keys.encrypt_bits(client, [1])
    with pytest.raises(ValueError, match="takes 2 arrays"):
        batch.apply_gate(server, gates.AND, bit)
    with pytest.raises(ValueError, match="do not fit"):
        batch.level(server, [gates.AND], np.stack([bit, bit], axis=1))
    with pytest.raises(ValueError, match="another parameter set"):
        batch.apply_gate(server, gates.AND, bit[:, 1:], bit[:, 1:])
