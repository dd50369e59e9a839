"""Signed gadget decomposition: the digits that keep noise growth small.

`t` is rounded to the nearest multiple of `2**-(levels * log_base)` and written in
balanced base `2**log_base`, most significant digit first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fhe import torus


class Gadget(NamedTuple):
    """Number of digits and logarithm of their base.

    Example:
        >>> Gadget(2, 8).scale(1) == 2**24
        True
    """

    levels: int
    log_base: int

    def scale(self, level: int) -> int:
        """Weight of digit `level` (from 1) in units of `2**-32`."""
        return 1 << (torus.BITS - level * self.log_base)

    def check(self) -> None:
        """Raises ValueError for digits that are empty or do not fit 32 bits."""
        if self.levels < 1 or self.log_base < 1:
            raise ValueError(f"a gadget needs levels and log_base >= 1, got {self}")
        if self.levels * self.log_base > torus.BITS - 1:
            raise ValueError(f"{self} asks for more than {torus.BITS - 1} bits")


def carry(gadget: Gadget) -> int:
    """What to add so that the digits are bits, each off by half a base.

    Half of the lowest digit rounds; half a base at each digit balances it.
    """
    half = 1 << (gadget.log_base - 1)
    balance = sum(half * gadget.scale(i) for i in range(1, gadget.levels + 1))
    return ((gadget.scale(gadget.levels) >> 1) + balance) % (1 << torus.BITS)


def decompose(t: jax.Array, gadget: Gadget) -> jax.Array:
    """Digits in `[-B/2, B/2)`; their weighted sum is `t` up to the rounding.

    One addition carries every balanced digit at once (Chillotti et al. 2020,
    algorithm 1), so that no digit waits for another.

    Args:
        t: uint32 `[...]`.
        gadget: levels and base.

    Returns:
        int32 `[levels, ...]`, most significant first.
    """
    half = 1 << (gadget.log_base - 1)
    shifted = t + jnp.uint32(carry(gadget))
    mask = jnp.uint32(2 * half - 1)
    return jnp.stack(
        [
            torus.signed((shifted >> (torus.BITS - level * gadget.log_base)) & mask)
            - half
            for level in range(1, gadget.levels + 1)
        ]
    )
