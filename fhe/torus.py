"""The torus T = R/Z in 32 bits: `t` stands for `t / 2**32`, and arithmetic wraps.

A bit is encoded as `+1/8` (true) or `-1/8` (false), as in Chillotti et al. 2020,
"TFHE: Fast Fully Homomorphic Encryption over the Torus", section 6. Functions take
NumPy arrays on the host and JAX arrays on a device alike.
"""

import jax
import jax.numpy as jnp
import numpy as np

Array = np.ndarray | jax.Array

BITS = 32
EIGHTH = 1 << (BITS - 3)


def from_real(x: np.ndarray | float) -> np.ndarray:
    """Nearest torus element of real numbers, modulo 1; float64 in, uint32 out."""
    # Values just below 1 round to 2**32, which the narrowing turns to 0.
    scaled = np.rint(np.mod(np.asarray(x, np.float64), 1.0) * 2.0**BITS)
    return scaled.astype(np.uint64).astype(np.uint32)


def to_real(t: Array) -> np.ndarray:
    """Representative in `[-1/2, 1/2)`; uint32 in, float64 out."""
    return np.asarray(t).astype(np.uint32).view(np.int32) / 2.0**BITS


def signed(t: jax.Array) -> jax.Array:
    """The same 32 bits as int32."""
    return jax.lax.bitcast_convert_type(t, jnp.int32)


def unsigned(t: jax.Array) -> jax.Array:
    """The same 32 bits as uint32."""
    return jax.lax.bitcast_convert_type(t, jnp.uint32)


def encode(bits: np.ndarray) -> np.ndarray:
    """`+1/8` for true and `-1/8` for false; any integer or bool array in."""
    return np.where(np.asarray(bits, bool), EIGHTH, (1 << BITS) - EIGHTH).astype(
        np.uint32
    )


def decode(phase: Array) -> np.ndarray:
    """The sign of a phase: true in `[0, 1/2)`; uint32 in, bool out."""
    return np.asarray(phase) < np.uint32(1 << (BITS - 1))


def limbs(t: jax.Array, bits: int, count: int) -> jax.Array:
    """Balanced digits of base `2**bits`, so that small exact types can carry `t`.

    `t == sum_i limbs[i] * 2**(bits * i)` modulo `2**32`, with every limb in
    `[-2**(bits - 1), 2**(bits - 1))`.

    Args:
        t: uint32 `[...]`.
        bits: width of a limb.
        count: number of limbs; `bits * count` must reach 32.

    Returns:
        int32 `[count, ...]`, least significant limb first.
    """
    if bits * count < BITS:
        raise ValueError(f"{count} limbs of {bits} bits do not hold {BITS} bits")
    half = 1 << (bits - 1)
    # Half a limb added everywhere makes plain digits, and subtracting it balances them.
    shifted = t + jnp.uint32(sum(half << (bits * i) for i in range(count - 1)))
    low = [
        signed((shifted >> (bits * i)) & jnp.uint32((1 << bits) - 1)) - half
        for i in range(count - 1)
    ]
    # The last limb keeps what is left, sign included; beyond 32 bits it may wrap.
    high = signed(shifted) >> (bits * (count - 1))
    return jnp.stack([*low, high])
