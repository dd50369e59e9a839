"""GLWE ciphertexts: uint32 `[k + 1, N]`, k mask polynomials and then the body.

Polynomials are taken modulo `X**N + 1`, coefficients on the torus, constant term first.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fhe.polynomial import exact_small_product
from fhe.torus import Array


def mask_product(mask: np.ndarray, secret: np.ndarray) -> np.ndarray:
    """`sum_i A_i z_i`, exactly, on the host.

    Args:
        mask: uint32 `[..., k, N]`.
        secret: int8 `[k, N]`, coefficients in -1, 0, 1.

    Returns:
        uint32 `[..., N]`.
    """
    total = np.zeros((*mask.shape[:-2], mask.shape[-1]), np.uint32)
    for i in range(secret.shape[0]):
        total += exact_small_product(mask[..., i, :], secret[i])
    return total


def encrypt(
    message: np.ndarray, secret: np.ndarray, mask: np.ndarray, error: np.ndarray
) -> np.ndarray:
    """Encrypts torus polynomials.

    Args:
        message: uint32 `[..., N]`.
        secret: int8 `[k, N]`.
        mask: uint32 `[..., k, N]`, uniform.
        error: uint32 `[..., N]`.

    Returns:
        uint32 `[..., k + 1, N]`.
    """
    body = mask_product(mask, secret) + message + error
    return np.concatenate([mask, body[..., None, :]], axis=-2)


def phase(ciphertext: Array, secret: np.ndarray) -> np.ndarray:
    """The message with its error; uint32 `[..., k + 1, N]` to `[..., N]`."""
    ciphertext = np.asarray(ciphertext)
    return ciphertext[..., -1, :] - mask_product(ciphertext[..., :-1, :], secret)


def rotate(polynomials: jax.Array, amount: jax.Array) -> jax.Array:
    """`X**amount` times each polynomial; `X**N` is -1.

    Args:
        polynomials: uint32 `[..., N]`.
        amount: int32 scalar in `[0, 2 * N)`.
    """
    N = polynomials.shape[-1]
    source = jnp.arange(N, dtype=jnp.int32) - amount  # in (-2N, N)
    # Modulo 2N the source's upper bit counts the wraps, each a change of sign.
    values = jnp.take(polynomials, source & (N - 1), axis=-1, mode="clip")
    negate = ((source & N) != 0).reshape((1,) * (polynomials.ndim - 1) + (N,))
    return jnp.where(negate, -values, values)


def extract(ciphertext: jax.Array) -> jax.Array:
    """The LWE ciphertext of the constant coefficient, under the key's coefficients.

    Args:
        ciphertext: uint32 `[k + 1, N]`.

    Returns:
        uint32 `[k * N + 1]`, valid under the secret `z.reshape(k * N)`.
    """
    mask = ciphertext[:-1]
    # Constant term of A z: A[0] z[0] - sum_j A[N - j] z[j].
    reversed_mask = jnp.concatenate([mask[:, :1], -mask[:, :0:-1]], axis=1)
    return jnp.concatenate([reversed_mask.reshape(-1), ciphertext[-1, :1]])
