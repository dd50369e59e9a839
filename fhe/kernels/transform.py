"""Fourier transforms of a GPU's lanes and registers, for Pallas kernels.

A polynomial's `r * r` values lie in r lanes of r registers each: arrays are `[r, T]`
with lanes last, and T lanes hold `T / r` polynomials. A transform is two rounds of
length r in registers with an exchange between lanes and registers after the first
(Cooley and Tukey 1965); the twist of the negacyclic product is part of the rounds.

With `M = r * r`, `n = j + r m` and `k = k1 + r k2`,

    X[k] = sum_n z[n] exp(-2 pi i n (k + 1/4) / M)

is a round over m, in lane j, of length r at the frequencies `k1 + 1/4`, and one over
j, in lane k1, at the frequencies `k2 + (k1 + 1/4) / r`. A round at frequencies
`k + shift` has the butterflies of an ordinary one with other factors.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fhe.kernels.instructions import Fma

SHIFT = 0.25
"""The roots of `X**M = -i` are at the frequencies `k + SHIFT`."""

Pair = tuple[jax.Array, jax.Array]  # real and imaginary parts
Factors = dict[int, Pair]  # by length L: [L / 2, 1, T] or [L / 2, 1, 1]


def split(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """The two halves of an axis of two, without it."""
    order = [d for d in range(x.ndim) if d != axis] + [axis]
    first, second = jnp.unstack(x.transpose(order), axis=-1)
    return first, second


def join(a: jax.Array, b: jax.Array, axis: int) -> jax.Array:
    """The inverse of `split`."""
    order = list(range(a.ndim))
    order.insert(axis, a.ndim)
    return jnp.stack([a, b], axis=-1).transpose(order)


def merge(pieces: list[jax.Array]) -> jax.Array:
    """A power of two of arrays, one after the other along the first axis."""
    if len(pieces) == 1:
        return pieces[0]
    half = len(pieces) // 2
    a, b = merge(pieces[:half]), merge(pieces[half:])
    return join(a, b, 0).reshape(2 * a.shape[0], *a.shape[1:])


def unmerge(x: jax.Array) -> list[jax.Array]:
    """A power of two of arrays out of one, without its first axis."""
    if x.shape[0] == 1:
        return [x.reshape(x.shape[1:])]
    halves = split(x.reshape(2, x.shape[0] // 2, *x.shape[1:]), 0)
    return [piece for half in halves for piece in unmerge(half)]


def exchange(x: jax.Array) -> jax.Array:
    """Register b of lane a to register a of lane b, within each polynomial."""
    r, T = x.shape
    return x.reshape(r, T // r, r).transpose(2, 1, 0).reshape(r, T)


def _constant(values: np.ndarray) -> jax.Array:
    """`[K, R]` as `[K, R, 1]`, by choices that end up as constants of instructions.

    A kernel may not hold arrays.
    """
    K, R = values.shape
    index = lax.broadcasted_iota(jnp.int32, (K, 1, 1), 0) * R
    index = index + lax.broadcasted_iota(jnp.int32, (1, R, 1), 1)
    out = jnp.full(index.shape, float(values[0, 0]), jnp.float32)
    for k, value in enumerate(values.reshape(-1)[1:]):
        out = jnp.where(index == k + 1, jnp.float32(value), out)
    return out


def _angles(L: int, shift: Any) -> np.ndarray:
    """Of the factors of length L, `[L / 2, ...]`."""
    k = np.arange(L // 2).reshape(-1, *[1] * np.ndim(shift))
    return 2 * np.pi * (k + shift) / L


def constant_factors(r: int) -> Factors:
    """Factors of the round at the frequencies `k + SHIFT`."""
    found, L = {}, 2
    while r >= L:
        angles = _angles(L, SHIFT)[:, None]
        found[L] = _constant(np.cos(angles)), _constant(-np.sin(angles))
        L *= 2
    return found


def lane_table(r: int) -> np.ndarray:
    """What `lane_factors` reads, float32 `[r * r]`."""
    shift = (np.arange(r) + SHIFT) / r
    rows, L = [], 2
    while r >= L:
        angles = _angles(L, shift)[: max(1, L // 4)]
        rows += [np.stack([np.cos(angles), -np.sin(angles)], axis=1)]
        L *= 2
    return np.concatenate(rows).astype(np.float32).reshape(-1)


def lane_factors(load: Any, lane: jax.Array, r: int) -> Factors:
    """Factors of the round at the frequencies `k + (lane + SHIFT) / r`.

    Args:
        load: gives the values of `lane_table` at an array of places.
        lane: int32 `[T]`, below r.
        r: length of the round.
    """
    found: Factors = {}
    L, start = 2, 0
    while r >= L:
        count = max(1, L // 4)
        k = lax.broadcasted_iota(jnp.int32, (count, 1, 1), 0)
        place = start + k * (2 * r) + lane[None, None, :]
        wr, wi = load(place), load(place + r)
        if L > 2:  # a quarter of a turn on
            wr, wi = join(wr, wi, 0), join(wi, -wr, 0)
            wr, wi = (w.reshape(L // 2, 1, lane.shape[0]) for w in (wr, wi))
        found[L] = wr, wi
        start += count * 2 * r
        L *= 2
    return found


def forward(re: jax.Array, im: jax.Array, factors: Factors, fma: Fma) -> Pair:
    """A round, decimated in time: six fused multiply-adds a butterfly.

    Args:
        re: float32 `[r, T]`.
        im: the same.
        factors: of one of the two rounds.
        fma: of a, b, c and "ab + c" (if not given), "ab - c" or "c - ab".
    """
    r, T = re.shape
    L = 2
    while r >= L:
        shape = (L // 2, 2, r // L, T)
        (ar, br), (ai, bi) = (split(x.reshape(shape), 1) for x in (re, im))
        wr, wi = factors[L]
        ur = fma(wi, bi, fma(wr, br, ar), "c - ab")
        ui = fma(wi, br, fma(wr, bi, ai))
        # a - w b from a + w b, in one instruction.
        re = join(ur, fma(2.0, ar, ur, "ab - c"), 0)
        im = join(ui, fma(2.0, ai, ui, "ab - c"), 0)
        L *= 2
    return re.reshape(r, T), im.reshape(r, T)


def backward(re: jax.Array, im: jax.Array, factors: Factors, fma: Fma) -> Pair:
    """The adjoint of `forward` and so, but for a factor r, its inverse."""
    r, T = re.shape
    L = r
    while L >= 2:
        shape = (2, L // 2, r // L, T)
        (ar, br), (ai, bi) = (split(x.reshape(shape), 0) for x in (re, im))
        wr, wi = factors[L]
        dr, di = ar - br, ai - bi
        re = join(ar + br, fma(di, wi, dr * wr), 1)
        im = join(ai + bi, fma(dr, wi, di * wr, "c - ab"), 1)
        L //= 2
    return re.reshape(r, T), im.reshape(r, T)


def backward_constant(re: jax.Array, im: jax.Array, fma: Fma) -> Pair:
    """`backward` by constants, with cosines left to the end (Linzer and Feig 1993).

    A butterfly has six fused multiply-adds by tangents, and a value's cosines are one
    factor in the end.
    """
    r, T = re.shape
    scale = np.ones((r, 1))
    L = r
    while L >= 2:
        shape = (2, L // 2, r // L, T)
        (ar, br), (ai, bi) = (split(x.reshape(shape), 0) for x in (re, im))
        first, second = scale.reshape(shape[:3])
        angles = _angles(L, SHIFT)[:, None]
        ratio = _constant(second / first) if r > L else None
        tangent = _constant(np.tan(angles))
        if ratio is None:
            ur, ui, dr, di = ar + br, ai + bi, ar - br, ai - bi
        else:
            ur, ui = fma(ratio, br, ar), fma(ratio, bi, ai)
            dr, di = (fma(ratio, x, y, "c - ab") for x, y in ((br, ar), (bi, ai)))
        re = join(ur, fma(tangent, di, dr, "c - ab"), 1)
        im = join(ui, fma(tangent, dr, di), 1)
        scale = np.stack([first, first * np.cos(angles)], axis=1)
        L //= 2
    last = _constant(scale.reshape(r, 1))[:, 0]
    return re.reshape(r, T) * last, im.reshape(r, T) * last
