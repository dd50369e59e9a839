"""LWE encryption, gates' sums and key switching."""

import cggi_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fhe import lwe
from fhe.gadget import Gadget

SMALL = pytest.mark.parametrize("small", [False, True], ids=["float32", "int8"])


def words(rng, *shape):
    return rng.integers(0, 2**32, shape, np.uint32)


def test_phase_is_message_and_error():
    rng = np.random.default_rng(0)
    secret = rng.integers(0, 2, 50).astype(np.uint32)
    message, error = words(rng, 4, 3), words(rng, 4, 3)
    found = lwe.encrypt(message, secret, words(rng, 4, 3, 50), error)
    np.testing.assert_array_equal(lwe.phase(found, secret), message + error)
    on_device = lwe.phase(jnp.asarray(found), jnp.asarray(secret))
    np.testing.assert_array_equal(on_device, message + error)


def test_trivial_decrypts_under_every_secret():
    rng = np.random.default_rng(0)
    message = words(rng, 5)
    found = lwe.phase(lwe.trivial(message, 20), words(rng, 20))
    np.testing.assert_array_equal(found, message)


def test_combine_is_the_weighted_sum():
    rng = np.random.default_rng(0)
    ciphertexts = words(rng, 3, 11)
    weights, offset = np.array([2, -1, 3], np.int8), np.int8(-3)
    want = (weights[:, None].astype(object) * ciphertexts).sum(axis=0)
    want[-1] += -3 * 2**29
    found = lwe.combine(jnp.asarray(ciphertexts), jnp.asarray(weights), offset)
    np.testing.assert_array_equal(found, (want % 2**32).astype(np.uint32))


@pytest.mark.parametrize("gadget", [(6, 2), (3, 7), (1, 10), (12, 1)])
@SMALL
@pytest.mark.parametrize("old", [5, 96])
def test_key_switch_equals_its_definition(gadget, old, small):
    rng = np.random.default_rng(old)
    key = words(rng, old, gadget[0], 9)
    prepared = lwe.prepare_switch_key(key, Gadget(*gadget), small=small)
    ciphertexts = words(rng, 4, old + 1)
    found = jax.jit(jax.vmap(lwe.switch_key, (0, None)))(ciphertexts, prepared)
    for ciphertext, row in zip(ciphertexts, found, strict=True):
        want = cggi_oracle.switch_key(ciphertext, key, gadget)
        np.testing.assert_array_equal(row, want.astype(np.uint32))


@SMALL
@pytest.mark.parametrize("gadget", [(6, 2), (8, 2), (5, 3), (3, 7)])
def test_key_switch_sums_stay_exact_at_their_largest(gadget, small):
    """Every digit and limb at its extreme: float32 must still hold the sums."""
    old = 1536
    key = np.full((old, gadget[0], 2), 0x80000000, np.uint32)
    key[..., 1] = 0xFFFFFFFF
    digit = -(1 << (gadget[1] - 1))
    word = sum(digit << (32 - j * gadget[1]) for j in range(1, gadget[0] + 1)) % 2**32
    ciphertext = np.full(old + 1, word, np.uint32)
    prepared = lwe.prepare_switch_key(key, Gadget(*gadget), small=small)
    want = cggi_oracle.switch_key(ciphertext, key, gadget)
    found = lwe.switch_key(jnp.asarray(ciphertext), prepared)
    np.testing.assert_array_equal(found, want.astype(np.uint32))


def test_switch_keys_too_large_for_float32_are_refused():
    with pytest.raises(ValueError, match="too large"):
        lwe.prepare_switch_key(np.zeros((2**12, 2, 2), np.uint32), Gadget(2, 12))
