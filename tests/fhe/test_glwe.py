"""GLWE ciphertexts: rotation, extraction, encryption."""

import cggi_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fhe import glwe, lwe


def words(rng, *shape):
    return rng.integers(0, 2**32, shape, np.uint32)


@pytest.mark.parametrize("wrap", [jax.jit, lambda f: f], ids=["jit", "plain"])
def test_every_rotation_is_a_monomial_product(wrap):
    N = 8
    polynomials = words(np.random.default_rng(0), 3, N)
    rotate = wrap(jax.vmap(glwe.rotate, (None, 0)))
    found = rotate(jnp.asarray(polynomials), jnp.arange(2 * N))
    for amount in range(2 * N):
        want = [cggi_oracle.rotate(p, amount) % 2**32 for p in polynomials]
        np.testing.assert_array_equal(found[amount], np.array(want))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_extraction_keeps_the_constant_coefficient(k):
    rng = np.random.default_rng(k)
    secret = rng.integers(-1, 2, (k, 16)).astype(np.int8)
    message, error = words(rng, 16), words(rng, 16)
    ciphertext = glwe.encrypt(message, secret, words(rng, k, 16), error)
    np.testing.assert_array_equal(glwe.phase(ciphertext, secret), message + error)
    extracted = np.asarray(glwe.extract(jnp.asarray(ciphertext)))
    flat = secret.reshape(-1).astype(np.int32).view(np.uint32)
    assert lwe.phase(extracted, flat) == (message + error)[0]
