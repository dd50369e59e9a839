"""GGSW ciphertexts and the external product."""

import cggi_oracle
import jax.numpy as jnp
import numpy as np
import pytest

from fhe import ggsw, glwe, polynomial, torus
from fhe.entropy import Stream
from fhe.gadget import Gadget

MASK, BODY, K, N = Gadget(2, 8), Gadget(3, 6), 2, 32


def encryption(message, sigma, seed=5):
    stream = Stream(bytes([seed]) * 32)
    secret = stream.ternary(K, N)
    rows = ggsw.num_rows(K, MASK, BODY)
    found = ggsw.encrypt(
        np.uint32(message),
        secret,
        stream.words(rows, K, N),
        stream.gaussian(sigma, rows, N),
        MASK,
        BODY,
    )
    return secret, found, stream


@pytest.mark.parametrize("name", ["exact", "int8"])
def test_external_product_equals_integers(name):
    _, key, stream = encryption(1, 2.0**-20)
    ciphertext = stream.words(K + 1, N)
    method = polynomial.method(name)
    found = ggsw.external_product(
        method.prepare(jnp.asarray(key)), jnp.asarray(ciphertext), MASK, BODY, method
    )
    want = cggi_oracle.external_product(key.astype(object), ciphertext, MASK, BODY)
    np.testing.assert_array_equal(found, want.astype(np.uint32))


@pytest.mark.parametrize("bit", [0, 1])
def test_external_product_multiplies_messages(bit):
    secret, key, stream = encryption(bit, 2.0**-28)
    message = stream.words(N)
    ciphertext = glwe.encrypt(
        message, secret, stream.words(K, N), np.zeros(N, np.uint32)
    )
    method = polynomial.method("exact")
    product = ggsw.external_product(
        jnp.asarray(key), jnp.asarray(ciphertext), MASK, BODY, method
    )
    error = torus.to_real(glwe.phase(product, secret) - np.uint32(bit) * message)
    # The mask keeps 16 bits: rounding gives 2**-17 / sqrt(3) * sqrt(kN 2/3) = 2**-15.
    assert np.abs(error).max() < 2.0**-12
