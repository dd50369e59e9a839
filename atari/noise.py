"""Random words, from a JAX key or from the reference emulator's own stream."""

import math

import jax
from jax import numpy as jnp

from atari import mersenne
from atari.mersenne import Twister

Noise = jax.Array | Twister
"""A PRNG key, or a stream of MT19937."""


def word(noise: Noise) -> tuple[Noise, jax.Array]:
    """The next 32 random bits, uint32, and the noise that is left."""
    if isinstance(noise, Twister):
        return mersenne.draw(noise)
    noise, key = jax.random.split(noise)
    return noise, jax.random.bits(key, dtype=jnp.uint32)


def happens(bits: jax.Array, probability: float) -> jax.Array:
    """Whether an event of that probability happens; bool.

    Equal to comparing `bits / 2**32` with the probability in double precision.
    """
    if probability >= 1:
        return jnp.ones(bits.shape, bool)
    return bits < jnp.uint32(math.ceil(probability * (1 << 32)))
