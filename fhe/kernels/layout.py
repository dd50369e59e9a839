"""Sizes of the blind rotation's kernel, and its tables in the order lanes read them."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fhe import torus
from fhe.gadget import Gadget, carry

LOW = 24
"""Bits of the key's lower limb, of which the upper one has the other 8."""

UNIT = 2.0**-8
"""Of the lower limb's sums, which in units of one exceed 32 bits."""

FIELDS = 5
"""Numbers in a row of `digit_table`."""


def supports(size: int) -> bool:
    """Whether N is of a size that the kernel knows: half of it is `r * r`."""
    return size in (32, 128, 512)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the kernel is compiled for.

    Attributes:
        steps: n.
        columns: k + 1.
        size: N.
        mask: digits of the mask's components.
        body: digits of the body.
        group: ciphertexts of a program, a power of two.
        teams: of `2 r` lanes that share the work on a ciphertext, a power of two;
            times the group at most r / 2.
        bundled: each ciphertext, alone in its program, has a key of its own that
            multiplies the accumulator as it is: see `fhe.unroll`.
    """

    steps: int
    columns: int
    size: int
    mask: Gadget
    body: Gadget
    group: int
    teams: int
    bundled: bool = False

    @property
    def radix(self) -> int:
        """r, the length of a round of a transform."""
        return math.isqrt(self.size // 2)

    @property
    def lanes(self) -> int:
        """Of a program."""
        return 2 * self.radix * self.teams * self.group

    @property
    def at_once(self) -> int:
        """Pairs of rows, of all ciphertexts, that a program transforms at a time."""
        return self.teams * self.group

    @property
    def pairs(self) -> int:
        """Of rows."""
        return (len(_rows(self)) + 1) // 2

    @property
    def column_slots(self) -> int:
        """Columns and what teams without a column write."""
        return -(-self.columns // self.teams) * self.teams


def _rows(plan: Plan) -> list[tuple[int, Gadget, int]]:
    """Component, gadget and level of each row."""
    gadgets = [plan.mask] * (plan.columns - 1) + [plan.body]
    return [
        (p, gadget, level)
        for p, gadget in enumerate(gadgets)
        for level in range(1, gadget.levels + 1)
    ]


def digit_table(plan: Plan) -> np.ndarray:
    """How to find each row's digits, int32 `[2 * pairs * FIELDS]`.

    The component's place, the digit's place, its bits, its offset as the bits of a
    float, and what to carry.
    """
    rows = _rows(plan)
    rows += rows[-1:] * (2 * plan.pairs - len(rows))  # whose key is zero
    found = []
    for p, gadget, level in rows:
        shift = torus.BITS - level * gadget.log_base
        # A digit is put into the mantissa of 2**23.
        offset = np.float32(2**23 + 2 ** (gadget.log_base - 1)).view(np.int32)
        carried = np.uint32(carry(gadget)).view(np.int32)
        bits = (1 << gadget.log_base) - 1
        found.append([p * 2 * plan.size, shift, bits, offset, carried])
    return np.array(found, np.int32).reshape(-1)


def prepare(key: Any) -> jax.Array:
    """Spectra of a key's two limbs, in the order in which lanes read them.

    Args:
        key: uint32 `[..., R, C, N]` for a size that `supports` knows.

    Returns:
        float32 `[..., Q, r, C, 2, r, 2, 2]`: pair of rows, upper half of the frequency,
        column, limb, lower half of the frequency, row and part.
    """
    key = np.asarray(key)
    *lead, R, C, N = key.shape
    r, pairs = math.isqrt(N // 2), (R + 1) // 2
    low = (key.view(np.int32) << (32 - LOW)) >> (32 - LOW)
    high = (key - low.view(np.uint32)).view(np.int32) >> LOW
    # Scaled for the inverse transform too. In float64, as for fft32.
    limbs = np.stack([high, low * UNIT]) * (2.0 / N)
    half = limbs[..., : N // 2] - 1j * limbs[..., N // 2 :]
    twist = np.exp(-1j * np.pi * np.arange(N // 2) / N)
    values = np.fft.fft(half * twist).reshape(2, -1, R, C, N // 2)
    if R % 2:
        values = np.concatenate([values, 0 * values[:, :, :1]], axis=2)
    parts = np.stack([values.real, values.imag], axis=-1).astype(np.float32)
    parts = parts.reshape(2, -1, pairs, 2, C, r, r, 2)
    found = parts.transpose(1, 2, 5, 4, 0, 6, 3, 7)
    return jnp.asarray(found.reshape(*lead, *found.shape[1:]))


def spectrum(key: jax.Array) -> jax.Array:
    """One entry of a prepared key as fft32 has it: complex64 `[R, 2 * C, N / 2]`."""
    pairs, r, C = key.shape[:3]
    values = lax.complex(key[..., 0], key[..., 1])
    values = values.transpose(0, 5, 3, 2, 1, 4).reshape(2 * pairs, 2, C, r * r)
    scale = jnp.array([[r * r], [r * r / UNIT]], jnp.float32)[None, :, :, None]
    return (values * scale).reshape(2 * pairs, 2 * C, r * r)


def factors(exponents: jax.Array, frequencies: int, dtype: Any) -> jax.Array:
    """`X**exponent - 1` at the roots, in the order of a spectrum.

    Args:
        exponents: int32 `[...]` in `[0, 2N)`.
        frequencies: `N / 2`.
        dtype: complex64 or complex128.

    Returns:
        Of the dtype, `[..., N / 2]`.
    """
    N = 2 * frequencies
    roots = jnp.asarray((np.exp(-1j * np.pi * np.arange(2 * N) / N) - 1).astype(dtype))
    odd = 4 * jnp.arange(frequencies, dtype=jnp.int32) + 1
    return roots[jnp.multiply.outer(exponents, odd) & (2 * N - 1)]


def bundle(entries: jax.Array, exponents: jax.Array) -> jax.Array:
    """`fhe.unroll.bundle` of what `prepare` gives, for one ciphertext or more.

    Args:
        entries: float32 `[..., M, Q, r, C, 2, r, 2, 2]`.
        exponents: int32 `[..., M]`; leading axes may differ as far as they broadcast.

    Returns:
        float32 `[..., Q, r, C, 2, r, 2, 2]`.
    """
    r = entries.shape[-6]
    turns = factors(exponents, r * r, np.complex64)
    turns = turns.reshape(*exponents.shape, 1, r, 1, 1, r, 1, 1)
    sign = jnp.array([-1.0, 1.0], jnp.float32)
    sign = sign.reshape((1,) * (turns.ndim - 2) + (2,))

    def term(m: int) -> jax.Array:
        entry, turn = (x[..., m, :, :, :, :, :, :, :] for x in (entries, turns))
        # The two parts of a complex product, each in its place.
        return turn.real * entry + turn.imag * sign * entry[..., ::-1]

    return functools.reduce(jnp.add, map(term, range(exponents.shape[-1])))
