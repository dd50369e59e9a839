"""Blind rotation by several secret bits a step, for levels too narrow for a device.

For a group of g bits a server key has an entry for each of the `2**g - 1` ways in which
some of them are 1: an encryption of 1 if it is these and no others, else of 0. With the
phase's parts summed over each such set, the *bundle*

    sum_m (X**exponent[m] - 1) * entry[m]

multiplies the accumulator by `X**phase - 1`, for all the group's bits at once (Zhou et
al. 2018; Bourse et al. 2018, ePrint 2017/1114). So a gate takes n / g steps, one after
the other, instead of n. Bundles cost `2**g - 1` times as much, but do not wait for the
accumulator, nor for one another. Entries' noise grows with their factors.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fhe.glwe import rotate
from fhe.polynomial import Method, Prepared


def patterns(unrolled: int) -> np.ndarray:
    """Which bits of a group are 1 in each way, bool `[2**g - 1, g]`."""
    number = np.arange(1, 2**unrolled)[:, None]
    return (number >> np.arange(unrolled)) & 1 == 1


def messages(secret: np.ndarray, unrolled: int) -> np.ndarray:
    """What the entries of a key encrypt.

    Args:
        secret: `[n]`, 0 or 1; g divides n.
        unrolled: g.

    Returns:
        uint32 `[n / g, 2**g - 1]`, 0 or 1: at most one of a group is 1.

    Example:
        >>> messages(np.array([0, 1, 1, 1]), 2)
        array([[0, 1, 0],
               [0, 0, 1]], dtype=uint32)
    """
    groups = np.asarray(secret).reshape(-1, 1, unrolled)
    return (groups == patterns(unrolled)).all(-1).astype(np.uint32)


def exponents(switched: jax.Array, unrolled: int, size: int) -> jax.Array:
    """Of the monomials in each group's bundle.

    Args:
        switched: int32 `[n]` in `[0, 2N)`, a mask.
        unrolled: g.
        size: N.

    Returns:
        int32 `[n / g, 2**g - 1]` in `[0, 2N)`.
    """
    chosen = jnp.asarray(patterns(unrolled).astype(np.int32))[None]
    # Not a matrix product, which a GPU may lack for integers.
    total = (switched.reshape(-1, 1, unrolled) * chosen).sum(-1, dtype=jnp.int32)
    return total & (2 * size - 1)


def prepare(key: jax.Array, method: Method) -> Prepared:
    """Brings a key into the form that `bundle` reads; leading axes stay.

    Args:
        key: uint32 `[..., R, k + 1, N]`.
        method: how polynomials are multiplied.
    """
    return jnp.asarray(key) if method.bundle is None else method.prepare(key)


def bundle(entries: Prepared, exponents: jax.Array, method: Method) -> Prepared:
    """A group's bundle, as a key entry in the method's form.

    Args:
        entries: see `prepare`, with a leading axis of `2**g - 1`.
        exponents: int32 `[2**g - 1]` in `[0, 2N)`.
        method: how polynomials are multiplied.
    """
    if method.bundle is not None:
        return method.bundle(entries, exponents)
    turned = jax.vmap(rotate)(entries, exponents) - entries
    return method.prepare(turned.sum(0, dtype=jnp.uint32))
