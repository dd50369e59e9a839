"""Gadget decomposition against digits by carrying."""

import cggi_oracle
import jax.numpy as jnp
import pytest
from hypothesis import given, settings, strategies as st

from fhe.gadget import Gadget, decompose

GADGETS = st.sampled_from([(2, 8), (2, 6), (6, 2), (3, 7), (1, 10), (8, 2), (31, 1)])


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=9, max_size=9), GADGETS)
def test_digits_equal_the_oracle(words, gadget):
    found = decompose(jnp.array(words, jnp.uint32), Gadget(*gadget))
    for i, word in enumerate(words):
        assert found[:, i].tolist() == cggi_oracle.digits(word, *gadget)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), GADGETS)
def test_weighted_sum_is_within_half_a_step(word, gadget):
    gadget = Gadget(*gadget)
    found = decompose(jnp.uint32(word), gadget).tolist()
    total = sum(d * gadget.scale(j + 1) for j, d in enumerate(found))
    error = (total - word + 2**31) % 2**32 - 2**31
    assert abs(error) <= gadget.scale(gadget.levels) // 2


@pytest.mark.parametrize("gadget", [(0, 8), (2, 0), (4, 8), (1, 32)])
def test_impossible_gadgets_are_refused(gadget):
    with pytest.raises(ValueError, match=r"gadget|bits"):
        Gadget(*gadget).check()
