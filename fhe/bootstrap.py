"""Gate bootstrapping: from a noisy sign to a fresh `+1/8` or `-1/8`.

Key switch, modulus switch to `2N`, blind rotation by n external products, extraction of
one coefficient (Chillotti et al. 2020, algorithm 9), for one ciphertext: vmap at the
call site with one key for all.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fhe import torus, unroll
from fhe.gadget import Gadget
from fhe.ggsw import external_product
from fhe.glwe import extract, rotate
from fhe.kernels import layout, rotation
from fhe.lwe import SwitchKey, prepare_switch_key, switch_key
from fhe.params import Params
from fhe.polynomial import Method, Prepared
from fhe.torus import Array


class EvaluationKey(NamedTuple):
    """A server key in the form that a device reads."""

    bootstrapping: Prepared  # leading axes params.entries
    switching: SwitchKey


def prepare_key(
    bootstrapping: Array, switching: Array, params: Params, method: Method
) -> EvaluationKey:
    """Brings a server key into a method's form.

    Args:
        bootstrapping: uint32 `[*params.entries, R, k + 1, N]`.
        switching: uint32 `[k * N, levels, n + 1]`.
        params: sizes.
        method: how polynomials are multiplied.
    """
    key = jnp.asarray(bootstrapping)
    unrolled = params.unrolled > 1
    return EvaluationKey(
        unroll.prepare(key, method) if unrolled else method.prepare(key),
        prepare_switch_key(
            switching, params.switch_gadget, small=jax.default_backend() == "gpu"
        ),
    )


def switch_modulus(ciphertext: jax.Array, log_modulus: int) -> jax.Array:
    """Rounds a ciphertext to `2**log_modulus` parts of the torus, centred.

    A binary secret multiplies the mask's rounding errors by 1/2 on average. Half their
    sum, which the server knows, goes into the body; what is left has half the variance
    (Bernard et al. 2025, ePrint 2025/809).

    Args:
        ciphertext: uint32 `[n + 1]` under a binary secret.
        log_modulus: at most 30.

    Returns:
        int32 `[n + 1]` in `[0, 2**log_modulus)`.
    """
    shift = torus.BITS - log_modulus
    half = jnp.uint32(1 << (shift - 1))
    mask = (ciphertext[:-1] + half) >> shift
    error = torus.signed((mask << shift) - ciphertext[:-1])
    # Half the sum without the sum, which may need 33 bits.
    halves = jnp.sum(error >> 1, dtype=jnp.int32)
    odd = jnp.sum(error & 1, dtype=jnp.int32) >> 1
    body = (ciphertext[-1] + torus.unsigned(halves + odd) + half) >> shift
    switched = jnp.concatenate([mask, body[None]])
    return torus.signed(switched & jnp.uint32((1 << log_modulus) - 1))


def blind_rotate(
    switched: jax.Array,
    test: jax.Array,
    key: Prepared,
    mask: Gadget,
    body: Gadget,
    method: Method,
    unrolled: int = 1,
) -> jax.Array:
    """`X**-phase` times a test polynomial, without knowing the phase.

    Args:
        switched: int32 `[n + 1]` in `[0, 2N)`.
        test: uint32 `[k + 1, N]`, a GLWE ciphertext (a trivial one will do).
        key: GGSW ciphertexts of the n secret bits in the method's form, or of groups
            of them: see `unroll.prepare`.
        mask: digits of the mask's components.
        body: digits of the body.
        method: how polynomials are multiplied.
        unrolled: bits of a group.

    Returns:
        uint32 `[k + 1, N]`.
    """
    N = test.shape[-1]
    start = rotate(test, (-switched[-1]) & (2 * N - 1))
    fused = method.name == "fused" and layout.supports(N)
    turns, rotator = switched[:-1], rotation.rotator
    if unrolled > 1:
        turns, rotator = unroll.exponents(turns, unrolled, N), rotation.bundled_rotator
    if fused and rotation.available(bundled=unrolled > 1):
        return rotator(mask, body)(turns, start, key)

    def step(
        accumulator: jax.Array, xs: tuple[jax.Array, Prepared]
    ) -> tuple[jax.Array, None]:
        turn, entry = xs
        if unrolled > 1:
            factor, entry = accumulator, unroll.bundle(entry, turn, method)
        else:
            # acc + s (X**a - 1) acc is X**(a s) acc for a bit s.
            factor = rotate(accumulator, turn) - accumulator
        product = external_product(entry, factor, mask, body, method)
        return accumulator + product, None

    rotated, _ = jax.lax.scan(step, start, (turns, key))
    return rotated


def bootstrap_sign(
    ciphertext: jax.Array, key: EvaluationKey, params: Params, method: Method
) -> jax.Array:
    """The sign of a message: `+1/8` for phases in `[0, 1/2)`, else `-1/8`.

    Args:
        ciphertext: uint32 `[params.ciphertext_dimension + 1]`.
        key: see `prepare_key`, of the same method.
        params: sizes.
        method: how polynomials are multiplied.

    Returns:
        uint32 of the same shape, with fresh noise.
    """
    N = params.polynomial_size
    first = params.order == "ks-pbs"
    small = switch_key(ciphertext, key.switching) if first else ciphertext
    switched = switch_modulus(small, N.bit_length())
    # All coefficients 1/8: a phase in [1/2, 1) brings one with X**N = -1 to the front.
    test = jnp.zeros((params.glwe_dimension + 1, N), jnp.uint32)
    test = test.at[-1].set(torus.EIGHTH)
    rotated = blind_rotate(
        switched,
        test,
        key.bootstrapping,
        params.mask_gadget,
        params.body_gadget,
        method,
        params.unrolled,
    )
    large = extract(rotated)
    return large if first else switch_key(large, key.switching)
