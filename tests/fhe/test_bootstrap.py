"""Bootstrapping against the integer oracle, bit for bit."""

import functools

import cggi_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fhe import bootstrap, keys, noise, polynomial, torus
from fhe.params import R64

EXACT = [name for name, method in polynomial.METHODS.items() if method.exact]


def run(name, server, ciphertexts):
    method = polynomial.method(name)
    with polynomial.precision(name):
        key = bootstrap.prepare_key(
            server.bootstrapping, server.switching, server.params, method
        )
        one = functools.partial(
            bootstrap.bootstrap_sign, params=server.params, method=method
        )
        return np.asarray(jax.jit(jax.vmap(one, (0, None)))(ciphertexts, key))


@pytest.fixture(scope="module")
def toy_case(toy):
    client, server = toy
    bits = np.array([0, 1, 1])
    ciphertexts = keys.encrypt_bits(client, bits, insecure_test_seed=9)
    want = [cggi_oracle.bootstrap_sign(c, server) for c in ciphertexts]
    return client, server, bits, ciphertexts, np.array(want).astype(np.uint32)


@pytest.mark.parametrize("name", EXACT)
def test_exact_methods_equal_the_oracle(name, toy_case):
    client, server, bits, ciphertexts, want = toy_case
    np.testing.assert_array_equal(run(name, server, ciphertexts), want)
    np.testing.assert_array_equal(keys.decrypt_bits(client, want), bits)


@pytest.mark.parametrize("name", ["fft64", "fft32"])
def test_fourier_methods_stay_near_the_oracle(name, toy_case):
    client, server, _, ciphertexts, want = toy_case
    found = run(name, server, ciphertexts)
    difference = keys.phases(client, found) - keys.phases(client, want)
    # Digits may differ once an error crosses a rounding, so noise alone bounds it.
    limit = 8 * np.sqrt(2 * noise.blind_rotation_variance(server.params))
    assert np.abs(torus.to_real(difference)).max() < limit


def test_int8_equals_exact_at_full_size(r64):
    """Four steps of the default set's blind rotation."""
    _, server = r64
    rng = np.random.default_rng(0)
    test = jnp.asarray(rng.integers(0, 2**32, (3, 512), np.uint32))
    switched = jnp.asarray(rng.integers(0, 1024, 5, np.int32))
    found = []
    for name in ("exact", "int8", "float16"):
        method = polynomial.method(name)
        key = method.prepare(jnp.asarray(server.bootstrapping[:4]))
        gadgets = R64.mask_gadget, R64.body_gadget
        found.append(bootstrap.blind_rotate(switched, test, key, *gadgets, method))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize(
    ("n", "log_modulus"), [(5, 11), (618, 10), (5000, 10), (9, 25)]
)
def test_modulus_switch_equals_integers(n, log_modulus):
    rng = np.random.default_rng(n)
    ciphertexts = rng.integers(0, 2**32, (20, n + 1), np.uint32)
    # Rounding errors all of one sign are the largest correction.
    ciphertexts[0, :-1] = (2**32 >> (log_modulus + 1)) - 1
    ciphertexts[1, :-1] = 2**32 >> (log_modulus + 1)
    found = jax.vmap(lambda c: bootstrap.switch_modulus(c, log_modulus))(ciphertexts)
    for row, ciphertext in zip(found, ciphertexts, strict=True):
        want = cggi_oracle.switch_modulus(ciphertext, log_modulus)
        assert row.tolist() == want


def test_centred_switch_has_the_predicted_noise():
    n, N, count = R64.lwe_dimension, R64.polynomial_size, 20_000
    rng = np.random.default_rng(1)
    ciphertexts = rng.integers(0, 2**32, (count, n + 1), np.uint32)
    secrets = rng.integers(0, 2, (count, n), np.uint32)
    switch = jax.jit(jax.vmap(lambda c: bootstrap.switch_modulus(c, 10)))
    scaled = np.asarray(switch(ciphertexts)).astype(np.uint32) << np.uint32(22)
    before = ciphertexts[:, -1] - (ciphertexts[:, :-1] * secrets).sum(1, np.uint32)
    after = scaled[:, -1] - (scaled[:, :-1] * secrets).sum(1, dtype=np.uint32)
    error = torus.to_real(after - before)
    ratio = np.mean(error**2) / noise.modulus_switch_variance(R64)
    assert N == 512
    assert abs(ratio - 1) < 4 * np.sqrt(2 / count)
