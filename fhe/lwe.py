"""LWE ciphertexts: uint32 `[n + 1]`, the mask `a` and then the body `b`.

`b = <a, s> + m + e` for a secret `s`, a message `m` and a small error `e`, all on the
torus (Regev 2005). Key switching turns a ciphertext under one secret into one under
another.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fhe import torus
from fhe.gadget import Gadget, decompose
from fhe.torus import Array


def encrypt(
    message: np.ndarray, secret: np.ndarray, mask: np.ndarray, error: np.ndarray
) -> np.ndarray:
    """Encrypts torus elements.

    Args:
        message: uint32 `[...]`.
        secret: uint32 `[n]`, small integers modulo `2**32`.
        mask: uint32 `[..., n]`, uniform.
        error: uint32 `[...]`.

    Returns:
        uint32 `[..., n + 1]`.
    """
    # A last axis of one: NumPy warns when scalars wrap, and arrays may.
    body = (mask @ secret)[..., None] + message[..., None] + error[..., None]
    return np.concatenate([mask, body], axis=-1)


def phase(ciphertext: Array, secret: Array) -> Array:
    """`b - <a, s>`: the message with its error; uint32 `[..., n + 1]` to `[...]`."""
    product = (ciphertext[..., :-1] @ secret)[..., None]
    return (ciphertext[..., -1:] - product)[..., 0]


def trivial(message: np.ndarray, dimension: int) -> np.ndarray:
    """A ciphertext of a public message, valid under every secret."""
    message = np.asarray(message, np.uint32)
    mask = np.zeros((*message.shape, dimension), np.uint32)
    return np.concatenate([mask, message[..., None]], axis=-1)


def combine(ciphertexts: jax.Array, weights: jax.Array, offset: jax.Array) -> jax.Array:
    """`offset / 8 + sum_i weights[i] * ciphertexts[i]`.

    Args:
        ciphertexts: uint32 `[3, n + 1]`.
        weights: int8 `[3]`.
        offset: int8 scalar.

    Returns:
        uint32 `[n + 1]`.
    """
    # A negative weight is its 32-bit complement: products wrap to the same word.
    scale = torus.unsigned(weights.astype(jnp.int32))
    total = jnp.sum(ciphertexts * scale[:, None], axis=0, dtype=jnp.uint32)
    eighths = torus.unsigned(offset.astype(jnp.int32)) * jnp.uint32(torus.EIGHTH)
    return total.at[-1].add(eighths)


class SwitchKey(NamedTuple):
    """A key-switching key in exact limbs, least significant first."""

    limbs: jax.Array  # [count, new dimension + 1, old dimension * levels]
    gadget: Gadget
    limb_bits: int


jax.tree_util.register_pytree_node(
    SwitchKey,
    lambda key: ((key.limbs,), (key.gadget, key.limb_bits)),
    lambda aux, leaves: SwitchKey(leaves[0], *aux),
)


def prepare_switch_key(key: Array, gadget: Gadget, *, small: bool = False) -> SwitchKey:
    """Splits a key-switching key so that a matrix product is exact.

    Every partial sum of digits times float32 limbs stays within `2**24`, below which
    float32 holds each integer.

    Args:
        key: uint32 `[old dimension, levels, new dimension + 1]`; entry `[i, j - 1]`
            encrypts `old secret[i] * 2**(32 - j * log_base)` under the new secret.
        gadget: digits of the old mask.
        small: int8 limbs instead, which a GPU's matrix units multiply.
    """
    old, levels, _ = key.shape
    if small and gadget.log_base <= 8:
        return SwitchKey(_switch_limbs(key, 8, 4).astype(jnp.int8), gadget, 8)
    digit_sum = old * levels * (1 << (gadget.log_base - 1))
    bits = 24 - (digit_sum - 1).bit_length() + 1
    if bits < 2:
        raise ValueError(f"{old} x {gadget} is too large for exact float32 sums")
    # Few wide limbs: each is a matrix product of its own.
    count = -(-torus.BITS // bits)
    return SwitchKey(_switch_limbs(key, bits, count).astype(jnp.float32), gadget, bits)


def _switch_limbs(key: Array, bits: int, count: int) -> jax.Array:
    old, levels, width = key.shape
    parts = torus.limbs(jnp.asarray(key).reshape(old * levels, width), bits, count)
    return jnp.swapaxes(parts, 1, 2)


def switch_key(ciphertext: jax.Array, key: SwitchKey) -> jax.Array:
    """The same message under the new secret.

    Args:
        ciphertext: uint32 `[old dimension + 1]`.
        key: see `prepare_switch_key`.

    Returns:
        uint32 `[new dimension + 1]`.
    """
    digits = decompose(ciphertext[:-1], key.gadget).T.reshape(-1)
    # The highest precision, or accelerators would round the limbs to bfloat16 or TF32.
    sums = jnp.einsum(
        "i,lji->lj",
        digits.astype(key.limbs.dtype),
        key.limbs,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.int32 if key.limbs.dtype == jnp.int8 else None,
    )
    parts = torus.unsigned(sums.astype(jnp.int32))
    shifts = jnp.arange(parts.shape[0], dtype=jnp.uint32) * jnp.uint32(key.limb_bits)
    total = jnp.sum(parts << shifts[:, None], axis=0, dtype=jnp.uint32)
    return (-total).at[-1].add(ciphertext[-1])
