"""A whole blind rotation as one Pallas kernel, a ciphertext a warp."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fhe import torus
from fhe.gadget import Gadget

try:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton
except ImportError:  # a JAX without this lowering
    pl = triton = None  # type: ignore[assignment]

_SHIFT = 0.25  # the transform's frequencies are k + 1/4


class Plan(NamedTuple):
    """What the kernel is compiled for."""

    steps: int
    columns: int
    size: int
    rows: tuple[tuple[int, int, int, int], ...]  # component, shift, bits, carry
    group: int = 4  # ciphertexts of one program
    loop_pairs: bool = True
    loop_columns: bool = True
    stages: int = 1

    @property
    def radix(self) -> int:
        return math.isqrt(self.size // 2)


def make_plan(n, k, N, mask: Gadget, body: Gadget, **options) -> Plan:
    rows = []
    for p in range(k + 1):
        g = body if p == k else mask
        half = 1 << (g.log_base - 1)
        carry = (g.scale(g.levels) >> 1) + sum(half * g.scale(v) for v in range(1, g.levels + 1))
        for v in range(1, g.levels + 1):
            rows.append((p, torus.BITS - v * g.log_base, g.log_base, carry % 2**32))
    if len(rows) % 2:
        rows.append(rows[-1])
    return Plan(n, k + 1, N, tuple(rows), **options)


def prepare(key: np.ndarray, plan: Plan) -> np.ndarray:
    """uint32 [n, R, C, N] to float32 [n, Q, r, C, 2r, 4]."""
    r, N, C = plan.radix, plan.size, plan.columns
    key = np.asarray(key)
    n, R = key.shape[:2]
    low = (key.view(np.int32) << 8) >> 8
    high = (key - low.view(np.uint32)).view(np.int32) >> 24
    limbs = np.stack([high, low * 2.0**-8]) * (2.0 / N)  # [2, n, R, C, N]
    half = limbs[..., : N // 2] - 1j * limbs[..., N // 2 :]
    twist = np.exp(-1j * np.pi * np.arange(N // 2) / N)
    spectrum = np.fft.fft(half * twist)
    if R % 2:
        spectrum = np.concatenate([spectrum, 0 * spectrum[:, :, :1]], axis=2)
    # [limb, n, pair, row, column, k2, k1]
    spectrum = spectrum.reshape(2, n, -1, 2, C, r, r)
    spectrum = np.stack([spectrum.real, spectrum.imag], -1)
    #                  limb n pair row column k2 k1 part
    #                  0    1 2    3   4      5  6  7
    out = spectrum.transpose(1, 2, 5, 4, 0, 6, 3, 7)
    return np.ascontiguousarray(out.reshape(n, -1, r, C, 2 * r, 4).astype(np.float32))


def twiddles(r: int) -> np.ndarray:
    """float32 [2 * count, r]: the distinct twiddles by length, of lane k1."""
    shift = (np.arange(r) + _SHIFT) / r
    out, L = [], 2
    while L <= r:
        for k in range(max(1, L // 4)):
            w = np.exp(-2j * np.pi * (k + shift) / L)
            out += [w.real, w.imag]
        L *= 2
    return np.array(out).astype(np.float32)


def _factors(source, L):
    """e^{-2 pi i (k + shift) / L} for k < L / 2, from those for k < L / 4."""
    first = source[L]
    second = [(wi, -wr) for wr, wi in first] if L > 2 else []
    return first + second


def _constants(r):
    out, L = {}, 2
    while L <= r:
        ws = [np.exp(-2j * np.pi * (k + _SHIFT) / L) for k in range(max(1, L // 4))]
        out[L] = [(float(w.real), float(w.imag)) for w in ws]
        L *= 2
    return out


def _lane_factors(values, r):
    out, L, at = {}, 2, 0
    while L <= r:
        out[L] = []
        for _ in range(max(1, L // 4)):
            out[L].append((values[at], values[at + 1]))
            at += 2
        L *= 2
    return out


def _forward(x, source):
    """Decimation in time: six fused multiply-adds a butterfly."""
    L = len(x)
    if L == 1:
        return x
    even, odd = _forward(x[0::2], source), _forward(x[1::2], source)
    lower, upper = [], []
    for (ar, ai), (br, bi), (wr, wi) in zip(even, odd, _factors(source, L)):
        ur = (ar + wr * br) - wi * bi
        ui = (ai + wr * bi) + wi * br
        lower.append((ur, ui))
        upper.append((2.0 * ar - ur, 2.0 * ai - ui))
    return lower + upper


def _backward(x, source):
    """Decimation in frequency, the transpose."""
    L = len(x)
    if L == 1:
        return x
    sums, differences = [], []
    half = L // 2
    for (ar, ai), (br, bi), (wr, wi) in zip(x[:half], x[half:], _factors(source, L)):
        sums.append((ar + br, ai + bi))
        dr, di = ar - br, ai - bi
        differences.append((dr * wr + di * wi, di * wr - dr * wi))
    out = [None] * L
    out[0::2] = _backward(sums, source)
    out[1::2] = _backward(differences, source)
    return out


def _join(xs):
    """[T] arrays to one [T, 2, ..., 2], the first axis being the highest bit."""
    if len(xs) == 1:
        return xs[0]
    return jnp.stack([_join(xs[0::2]), _join(xs[1::2])], axis=-1)


def _split(x, n):
    if n == 1:
        return [x]
    if hasattr(lax, "unstack"):
        a, b = lax.unstack(x, axis=-1)
    else:
        a, b = jnp.unstack(x, axis=-1)
    out = [None] * n
    out[0::2], out[1::2] = _split(a, n // 2), _split(b, n // 2)
    return out


def _bits(n):
    return (2,) * (n.bit_length() - 1)


def _exchange(xs, r, T):
    """Value b of lane a to value a of lane b, among the lanes of a polynomial."""
    y = _join(xs).reshape(T // r, r, r).transpose(0, 2, 1)
    return _split(y.reshape(T, *_bits(r)), r)


def _exchange_complex(xs, r, T):
    re = _exchange([x[0] for x in xs], r, T)
    im = _exchange([x[1] for x in xs], r, T)
    return list(zip(re, im))


def _swap(a, b, r, T):
    """Lanes of half h get value h of the first and of the second half."""
    y = jnp.stack([a, b], axis=-1).reshape(T // (2 * r), 2, r, 2)
    y = y.transpose(0, 3, 2, 1).reshape(T, 2)
    return _split(y, 2)


def _kernel(plan: Plan, barrier, switched, table, factors, key, _, state):
    r, N, C, G = plan.radix, plan.size, plan.columns, plan.group
    T = 2 * r * G
    index = jnp.arange(T, dtype=jnp.int32)
    lane = index & (2 * r - 1)
    j, h = lane & (r - 1), lane >> (r.bit_length() - 1)
    ciphertext = pl.program_id(0) * G + (index >> (r.bit_length()))
    batch = switched.shape[0] // plan.steps
    number = factors.shape[0] // r
    lanes = _lane_factors([triton.load(factors.at[v * r + j]) for v in range(number)], r)
    constants = _constants(r)
    base = ciphertext * (C * 2 * N)
    # four values each
    quad = jnp.arange(4, dtype=jnp.int32)[None, :] + (lane * 4)[:, None]
    bias = jnp.where(h == 0, jnp.float32(1.5 * 2**23), jnp.float32(0))
    up = jnp.where(h == 0, jnp.int32(24), jnp.int32(8))
    pairs = len(plan.rows) // 2
    magic = jnp.int32(0x4B000000)

    def digit(x, shift, mask, offset):
        bits = (lax.shift_right_logical(x, shift) & mask) | magic
        return lax.bitcast_convert_type(bits, jnp.float32) - offset

    def step(i, none):
        amount = triton.load(switched.at[i * batch + ciphertext])
        turn = base + (N - (amount & (N - 1))) + j
        sign = -lax.shift_right_logical(amount, jnp.int32(N.bit_length() - 1))
        here = base + N + j

        def pair(q, sums):
            row = (q * 2 + h) * 6
            field = [triton.load(table.at[row + f]) for f in range(5)]
            at, shift, mask, offset, carry = field
            offset = lax.bitcast_convert_type(offset, jnp.float32)
            carry = carry - sign
            turned, still = turn + at, here + at
            x = []
            for m in range(r):
                parts = []
                for t in range(2):
                    o = r * m + t * (N // 2)
                    old = triton.load(state.at[still + o])
                    new = triton.load(state.at[turned + o])
                    parts.append(digit(((new ^ sign) + carry) - old, shift, mask, offset))
                x.append((parts[0], -parts[1]))
            x = _exchange_complex(_forward(x, constants), r, T)
            x = _forward(x, lanes)
            sums = list(sums)
            where = (i * pairs + q) * (r * C * 2 * r * 4)
            for k in range(r):
                re0, re1 = _swap(x[k][0], x[k][0], r, T)
                im0, im1 = _swap(x[k][1], x[k][1], r, T)
                for c in range(C):
                    entry = triton.load(key.at[quad + (where + (k * C + c) * (8 * r))])
                    r0, i0, r1, i1 = _split(entry.reshape(T, 2, 2), 4)
                    s = 2 * (c * r + k)
                    sums[s] = sums[s] + re0 * r0 - im0 * i0 + re1 * r1 - im1 * i1
                    sums[s + 1] = sums[s + 1] + re0 * i0 + im0 * r0 + re1 * i1 + im1 * r1
            return tuple(sums)

        sums = (jnp.zeros(T, jnp.float32),) * (2 * r * C)
        if plan.loop_pairs:
            sums = lax.fori_loop(0, pairs, pair, sums)
        else:
            for q in range(pairs):
                sums = pair(q, sums)
        barrier()  # all have read the accumulator

        def column(c, sums):
            x = [(sums[2 * k], sums[2 * k + 1]) for k in range(r)]
            x = _exchange_complex(_backward(x, lanes), r, T)
            x = _backward(x, constants)
            at = here + c * (2 * N) + h * (N // 2)
            for m in range(r):
                re, im = ((v + bias).astype(jnp.int32) << up for v in x[m])
                a, b = _swap(re, -im, r, T)
                old = triton.load(state.at[at + r * m])
                new = old + (a + b)
                triton.store(state.at[at + r * m], new)
                triton.store(state.at[at + (r * m - N)], -new)
            return (*sums[2 * r :], *sums[: 2 * r])

        if plan.loop_columns:
            lax.fori_loop(0, C, column, tuple(sums))
        else:
            for c in range(C):
                sums = column(c, sums)
        barrier()
        return none

    lax.fori_loop(0, plan.steps, step, jnp.int32(0))


def table(plan: Plan) -> np.ndarray:
    out = []
    for p, shift, bits, carry in plan.rows:
        offset = np.float32(2**23 + 2 ** (bits - 1)).view(np.int32)
        out.append([p * 2 * plan.size, shift, 2**bits - 1, offset, np.uint32(carry).view(np.int32), 0])
    return np.array(out, np.int32).reshape(-1)


def blind_rotate(switched, start, key, plan: Plan, *, interpret=False):
    """int32 [B, n + 1] and uint32 [B, C, N] (already turned by the body)."""
    B = switched.shape[0]
    G = plan.group
    assert B % G == 0
    start = torus.signed(start)
    state = jnp.concatenate([-start, start], axis=-1)  # [B, C, 2N]
    barrier = (lambda: None) if interpret else triton.debug_barrier
    inputs = [
        switched[:, :-1].T.reshape(-1),
        jnp.asarray(table(plan)),
        jnp.asarray(twiddles(plan.radix).reshape(-1)),
        key.reshape(-1),
        state.reshape(-1),
    ]
    out = pl.pallas_call(
        functools.partial(_kernel, plan, barrier),
        out_shape=jax.ShapeDtypeStruct((state.size,), jnp.int32),
        grid=(B // G,),
        input_output_aliases={4: 0},
        compiler_params=triton.CompilerParams(
            num_warps=max(1, 2 * plan.radix * G // 32), num_stages=plan.stages
        ),
        interpret=interpret,
        name="blind_rotation",
    )(*inputs)
    return torus.unsigned(out.reshape(state.shape)[..., plan.size :])
