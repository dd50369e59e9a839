"""GGSW ciphertexts and the external product, the only multiplication of the scheme.

A GGSW ciphertext of a small integer `s` has a row for every digit of every component
of a GLWE ciphertext; row `(p, j)` is a GLWE encryption of zero with
`s * 2**-(j * log_base)` added to component `p`. The mask's and the body's digits have
bases of their own: the body's rounding is not multiplied by the key, so that fewer
bits do.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fhe import glwe
from fhe.gadget import Gadget, decompose
from fhe.polynomial import Method, Prepared


def num_rows(glwe_dimension: int, mask: Gadget, body: Gadget) -> int:
    """Rows of a GGSW ciphertext: `k * mask.levels + body.levels`."""
    return glwe_dimension * mask.levels + body.levels


def encrypt(
    message: np.ndarray,
    secret: np.ndarray,
    mask: np.ndarray,
    error: np.ndarray,
    mask_gadget: Gadget,
    body_gadget: Gadget,
) -> np.ndarray:
    """Encrypts small integers.

    The masks come out as they went in. Adding the message to them instead would show it
    to whoever knows the masks, as everyone does who has a seeded key's public seed.

    Args:
        message: uint32 `[...]`.
        secret: int8 `[k, N]`.
        mask: uint32 `[..., R, k, N]`, uniform.
        error: uint32 `[..., R, N]`.
        mask_gadget: digits of the mask's components.
        body_gadget: digits of the body.

    Returns:
        uint32 `[..., R, k + 1, N]`.
    """
    k, N = secret.shape
    # What multiplies the message in a row's phase: -z_p for the mask, 1 for the body.
    units = [*-secret.astype(np.int64), np.eye(1, N, dtype=np.int64)[0]]
    gadgets = [mask_gadget] * k + [body_gadget]
    scaled = [
        unit * gadget.scale(level)
        for unit, gadget in zip(units, gadgets, strict=True)
        for level in range(1, gadget.levels + 1)
    ]
    messages = message[..., None, None] * np.array(scaled).astype(np.uint32)
    return glwe.encrypt(messages, secret, mask, error)


def digits(ciphertext: jax.Array, mask: Gadget, body: Gadget) -> jax.Array:
    """Digits of a GLWE ciphertext by row; uint32 `[k + 1, N]` to int32 `[R, N]`."""
    N = ciphertext.shape[-1]
    of_mask = jnp.swapaxes(decompose(ciphertext[:-1], mask), 0, 1).reshape(-1, N)
    return jnp.concatenate([of_mask, decompose(ciphertext[-1], body)])


def external_product(
    key: Prepared, ciphertext: jax.Array, mask: Gadget, body: Gadget, method: Method
) -> jax.Array:
    """GGSW(s) times GLWE(m), a GLWE ciphertext of `s * m`.

    Args:
        key: a GGSW ciphertext `[R, k + 1, N]` in the method's form.
        ciphertext: uint32 `[k + 1, N]`.
        mask: digits of the mask's components.
        body: digits of the body.
        method: how polynomials are multiplied.

    Returns:
        uint32 `[k + 1, N]`.
    """
    return method.product(digits(ciphertext, mask, body), key)
