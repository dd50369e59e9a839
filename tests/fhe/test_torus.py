"""Torus arithmetic against Python integers."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fhe import torus

WORDS = st.lists(st.integers(0, 2**32 - 1), min_size=9, max_size=9)


@pytest.mark.parametrize(
    ("real", "word"),
    [(0.0, 0), (0.125, 2**29), (-0.125, 7 * 2**29), (0.5, 2**31), (1 - 2.0**-40, 0)],
)
def test_from_real_is_modulo_one(real, word):
    assert torus.from_real(real) == word
    assert torus.from_real(real + 3) == word


@given(WORDS)
def test_to_real_inverts_from_real(words):
    words = np.array(words, np.uint32)
    real = torus.to_real(words)
    assert ((real >= -0.5) & (real < 0.5)).all()
    np.testing.assert_array_equal(torus.from_real(real), words)


@settings(deadline=None)
@given(WORDS, st.sampled_from([(8, 4), (11, 3), (16, 2), (2, 16), (24, 2)]))
def test_limbs_are_balanced_and_sum_to_the_word(words, form):
    bits, count = form
    found = torus.limbs(jnp.array(words, jnp.uint32), bits, count)
    assert int(found.min()) >= -(2 ** (bits - 1))
    assert int(found.max()) < 2 ** (bits - 1)
    for i, word in enumerate(words):
        total = sum(int(found[j, i]) << (bits * j) for j in range(count))
        assert total % 2**32 == word


def test_too_few_limbs_are_refused():
    with pytest.raises(ValueError, match="3 limbs of 8 bits"):
        torus.limbs(jnp.zeros(1, jnp.uint32), 8, 3)


def test_decode_takes_the_sign():
    bits = np.array([True, False])
    np.testing.assert_array_equal(torus.decode(torus.encode(bits)), bits)
    edges = np.array([0, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)
    assert torus.decode(edges).tolist() == [True, True, False, False]
