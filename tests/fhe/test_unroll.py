"""Several secret bits a step: the same rotation, its noise as predicted."""

import dataclasses
import itertools

import cggi_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fhe import bootstrap, gates, keys, noise, params, polynomial, torus, unroll
from fhe.batch import apply_gate

METHODS = ["exact", "int8", "float16", "fft32", "fft64", "fused"]


def sizes(unrolled, **changes):
    """A set for tests whose groups divide its dimension."""
    return dataclasses.replace(
        params.TOY, name="test", lwe_dimension=24, unrolled=unrolled, **changes
    )


@pytest.mark.parametrize("unrolled", [1, 2, 3, 4])
def test_a_bundle_turns_by_the_phase(unrolled):
    """In the clear, for all secrets of a group: 1 + sum m (X**e - 1) is X**phase."""
    N, rng = 16, np.random.default_rng(unrolled)
    amounts = rng.integers(0, 2 * N, unrolled, np.int32)
    turns = np.asarray(unroll.exponents(jnp.asarray(amounts), unrolled, N))[0]
    for secret in itertools.product((0, 1), repeat=unrolled):
        chosen = unroll.messages(np.array(secret), unrolled)[0]
        assert chosen.sum() == (sum(secret) > 0)
        phase = int(np.dot(amounts, secret)) % (2 * N)
        assert (turns * chosen).sum() == phase


@pytest.mark.parametrize("name", METHODS)
def test_bundles_agree(name):
    """Of random entries, as factors of random digits, with the definition."""
    rng = np.random.default_rng(0)
    R, C, N = 4, 3, 32
    entries = rng.integers(0, 2**32, (7, R, C, N), np.uint32)
    turns = rng.integers(0, 2 * N, 7, np.int32)
    turns[0] = 0
    digits = jnp.asarray(rng.integers(-32, 32, (R, N), np.int32))
    method = polynomial.method(name)
    with polynomial.precision(name):
        kept = unroll.prepare(entries, method)
        bundle = jax.jit(lambda k, e: unroll.bundle(k, e, method))(kept, turns)
        found = np.asarray(method.product(digits, bundle))
    want = np.zeros((C, N), object)
    for entry, turn in zip(entries.astype(object), turns.tolist(), strict=True):
        for r, c in itertools.product(range(R), range(C)):
            p = cggi_oracle.rotate(entry[r, c], turn) - entry[r, c]
            want[c] += cggi_oracle.negacyclic(p, np.asarray(digits[r]).astype(object))
    error = (found - (want % 2**32).astype(np.uint32)).view(np.int32)
    # Float32 spectra err by 2**-20 of the torus here, float64 ones by nothing.
    limits = {"fft32": 2**12, "fused": 2**12, "fft64": 1}
    assert np.abs(error).max() <= limits.get(name, 0)


@pytest.mark.parametrize("unrolled", [2, 3, 4])
@pytest.mark.parametrize("name", METHODS)
def test_gates(name, unrolled):
    chosen = sizes(unrolled)
    client, server = keys.keygen(chosen, allow_insecure=True, insecure_test_seed=5)
    bits = np.random.default_rng(0).integers(0, 2, (3, 16))
    inputs = [keys.encrypt_bits(client, row, insecure_test_seed=1) for row in bits]
    found = apply_gate(server, gates.MAJ3, *inputs, method=name)
    want = bits.sum(0) > 1
    np.testing.assert_array_equal(keys.decrypt_bits(client, found), want)
    errors = torus.to_real(keys.phases(client, found) - torus.encode(want))
    assert np.abs(errors).max() < 8 * np.sqrt(noise.output_variance(chosen))
    if polynomial.method(name).exact:
        exact = apply_gate(server, gates.MAJ3, *inputs, method="exact")
        np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("unrolled", [2, 3])
def test_noise_is_as_predicted(unrolled):
    """Over keys, for noise in which the entries' own has the upper hand."""
    chosen = sizes(unrolled, glwe_sigma=2.0**-20)
    ratios = []
    for seed in range(8):
        client, server = keys.keygen(
            chosen, allow_insecure=True, insecure_test_seed=seed
        )
        bits = np.random.default_rng(seed).integers(0, 2, (2, 128))
        inputs = [keys.encrypt_bits(client, row) for row in bits]
        found = apply_gate(server, gates.AND, *inputs, method="exact")
        errors = keys.phases(client, found) - torus.encode(bits.all(0))
        ratios.append(np.mean(torus.to_real(errors) ** 2))
    ratio = np.mean(ratios) / noise.output_variance(chosen)
    assert 0.8 < ratio < 1.1  # the first steps' digits are those of a constant


def test_one_gate_of_the_named_set():
    client, server = keys.keygen(params.R64_U3, insecure_test_seed=2)
    assert server.bootstrapping.shape == (206, 7, 8, 3, 512)
    bits = np.array([[0, 1], [1, 1], [1, 0]])
    inputs = [keys.encrypt_bits(client, row) for row in bits]
    found = apply_gate(server, gates.XOR3, *inputs, method="fft32")
    np.testing.assert_array_equal(keys.decrypt_bits(client, found), bits.sum(0) % 2)


def test_a_jitted_rotation_is_the_plain_one():
    chosen = sizes(3)
    _, server = keys.keygen(chosen, allow_insecure=True, insecure_test_seed=5)
    rng = np.random.default_rng(1)
    test = jnp.asarray(rng.integers(0, 2**32, (3, 64), np.uint32))
    switched = jnp.asarray(rng.integers(0, 128, 25, np.int32))
    method = polynomial.method("exact")
    key = unroll.prepare(server.bootstrapping, method)

    def run(switched):
        gadgets = chosen.mask_gadget, chosen.body_gadget
        return bootstrap.blind_rotate(switched, test, key, *gadgets, method, 3)

    np.testing.assert_array_equal(jax.jit(run)(switched), run(switched))
