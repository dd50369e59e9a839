"""MT19937 as a pure function, for the reference emulator's own action noise.

Matsumoto & Nishimura, "Mersenne Twister", ACM TOMACS 8(1), 1998. Words are renewed one
at a time, just before they are used, which gives the same stream as renewing all 624 at
once and suits a batch whose members draw at different times.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

_SIZE = 624
_SHIFT = 397


class Twister(NamedTuple):
    """One stream of random numbers."""

    words: jax.Array  # uint32[624]
    position: jax.Array  # int32, the word to be renewed next


def seed(value: int | jax.Array) -> Twister:
    """A stream as `std::mt19937(value)` starts it.

    Args:
      value: 32-bit seed, concrete or traced.
    """
    first = jnp.asarray(value).astype(jnp.uint32)

    def fill(word: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        following = np.uint32(1812433253) * (word ^ (word >> 30)) + i
        return following, word

    order = jnp.arange(1, _SIZE + 1, dtype=jnp.uint32)
    _, words = jax.lax.scan(fill, first, order)
    return Twister(words, jnp.int32(0))


def draw(state: Twister) -> tuple[Twister, jax.Array]:
    """The next number, uint32.

    Example:
      >>> draw(seed(5489))[1]
      Array(3499211612, dtype=uint32)
    """
    words, index = state
    after = jnp.where(index == _SIZE - 1, 0, index + 1)
    partner = words[(index + _SHIFT) % _SIZE]
    mixed = (words[index] & np.uint32(0x80000000)) | (
        words[after] & np.uint32(0x7FFFFFFF)
    )
    odd = jnp.where(mixed & 1 == 1, np.uint32(0x9908B0DF), np.uint32(0))
    word = partner ^ (mixed >> 1) ^ odd
    words = jnp.where(jnp.arange(_SIZE) == index, word, words)
    word ^= word >> 11
    word ^= (word << 7) & np.uint32(0x9D2C5680)
    word ^= (word << 15) & np.uint32(0xEFC60000)
    return Twister(words, after), word ^ (word >> 18)


def below(state: Twister, bound: int) -> tuple[Twister, jax.Array]:
    """An integer from 0 to `bound - 1` as libstdc++'s `uniform_int_distribution` does.

    A product with the bound is split in halves (Lemire, "Fast Random Integer Generation
    in an Interval", 2019); the drawing is repeated in the rare case that the lower half
    is short of `2**32 % bound`.

    Raises:
      ValueError: The bound is not from 1 to 65535.
    """
    if not 0 < bound < 1 << 16:
        raise ValueError(f"the bound must be from 1 to 65535, not {bound}")
    threshold = np.uint32((1 << 32) % bound)

    def split(word: jax.Array) -> tuple[jax.Array, jax.Array]:
        high, low = (word >> 16) * np.uint32(bound), (word & 0xFFFF) * np.uint32(bound)
        carry = (high & 0xFFFF) + (low >> 16)
        return (high >> 16) + (carry >> 16), (carry << 16) | (low & 0xFFFF)

    state, word = draw(state)
    state, word = jax.lax.while_loop(
        lambda carry: split(carry[1])[1] < threshold,
        lambda carry: draw(carry[0]),
        (state, word),
    )
    return state, split(word)[0].astype(jnp.int32)
