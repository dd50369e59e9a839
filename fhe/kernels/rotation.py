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
    loop_columns: bool = False
    stages: int = 1
    chunks: int = 4
    lanes_first: bool = True
    teams: int = 1  # of 2r lanes that share a ciphertext

    @property
    def slots(self) -> int:
        return max(self.columns, self.teams)

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


def supports(size: int) -> bool:
    """Whether the transform of half the size is two rounds of registers by lanes."""
    return size in (32, 128, 512)


def prepare(key: Any) -> jax.Array:
    """uint32 [..., R, C, N] to float32 [..., Q, r, C, 2r, 2, 2]."""
    key = np.asarray(key)
    *lead, R, C, N = key.shape
    r = math.isqrt(N // 2)
    low = (key.view(np.int32) << 8) >> 8
    high = (key - low.view(np.uint32)).view(np.int32) >> 24
    # Scaled for the inverse transform, and for sums of the lower limb to fit int32.
    limbs = np.stack([high, low * 2.0**-8]) * (2.0 / N)
    half = limbs[..., : N // 2] - 1j * limbs[..., N // 2 :]
    twist = np.exp(-1j * np.pi * np.arange(N // 2) / N)
    spectrum = np.fft.fft(half * twist).reshape(2, -1, R, C, N // 2)
    if R % 2:
        spectrum = np.concatenate([spectrum, 0 * spectrum[:, :, :1]], axis=2)
    spectrum = spectrum.reshape(2, -1, (R + 1) // 2, 2, C, r, r)
    # A lane of the second half begins with the row whose digits it transforms.
    spectrum[1] = spectrum[1, :, :, ::-1]
    spectrum = np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)
    # From limb, step, pair, row, column, k2, k1, part.
    out = spectrum.transpose(1, 2, 5, 4, 0, 6, 3, 7)
    return jnp.asarray(out.reshape(*lead, (R + 1) // 2, r, C, 2 * r, 2, 2))


def spectrum(key: jax.Array) -> jax.Array:
    """One prepared key as complex64 `[R, 2 * C, N / 2]`, unscaled: see fft32."""
    pairs, r, C, _, _, _ = key.shape
    limbs = key.reshape(pairs, r, C, 2, r, 2, 2)
    lower = limbs[:, :, :, 1, :, ::-1]
    limbs = jnp.stack([limbs[:, :, :, 0], lower], axis=3)
    limbs = limbs.transpose(0, 5, 3, 2, 1, 4, 6).reshape(2 * pairs, 2, C, r * r, 2)
    limbs = limbs * jnp.array([r * r, r * r * 2.0**8])[:, None, None, None]
    values = lax.complex(limbs[..., 0], limbs[..., 1])
    return values.reshape(2 * pairs, 2 * C, r * r)


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


def _constant(values, axes):
    """Values along the first of `axes` axes, made where a kernel may not hold arrays."""
    number = len(values)
    index = lax.broadcasted_iota(jnp.int32, (number,) + (1,) * (axes - 1), 0)
    out = jnp.full(index.shape, values[0], jnp.float32)
    for k in range(1, number):
        out = jnp.where(index == k, jnp.float32(values[k]), out)
    return out


def _stack(a, b, axis):
    """The new axis of two at `axis`, by joining at the end."""
    joined = jnp.stack([a, b], axis=-1)
    order = list(range(a.ndim))
    order.insert(axis, a.ndim)
    return joined.transpose(order)


def _unstack(x, axis):
    order = [d for d in range(x.ndim) if d != axis] + [axis]
    y = x.transpose(order)
    if hasattr(lax, "unstack"):
        return lax.unstack(y, axis=-1)
    return jnp.unstack(y, axis=-1)


def _both(w):
    """Factors for k < L / 2, from those for k < L / 4."""
    wr, wi = w
    pair = _stack(wr, wi, 0), _stack(wi, -wr, 0)
    return tuple(x.reshape(-1, *wr.shape[1:]) for x in pair)


def _constant_factors(r):
    out, L = {}, 2
    while L <= r:
        ws = [np.exp(-2j * np.pi * (k + _SHIFT) / L) for k in range(max(1, L // 2))]
        out[L] = tuple(_constant([float(v) for v in part(ws)], 3) for part in (np.real, np.imag))
        L *= 2
    return out


def _lane_factors(ref, place, r):
    """Of each lane, [L / 2, 1, T]."""
    out, L, at = {}, 2, 0
    while L <= r:
        number = max(1, L // 4)
        k = lax.broadcasted_iota(jnp.int32, (number, 1, 1), 0)
        here = at + k * (2 * r) + place[None, None, :]
        w = triton.load(ref.at[here]), triton.load(ref.at[here + r])
        out[L] = _both(w) if L > 2 else w
        at += number * 2 * r
        L *= 2
    return out


def _forward(re, im, factors):
    """[r, T]: decimation in time, six fused multiply-adds a butterfly."""
    r, T = re.shape
    re, im = re.reshape(1, r, T), im.reshape(1, r, T)
    L = 2
    while L <= r:
        shape = (L // 2, 2, r // L, T)
        (ar, br), (ai, bi) = (_unstack(x.reshape(shape), 1) for x in (re, im))
        wr, wi = factors[L]
        ur = (ar + wr * br) - wi * bi
        ui = (ai + wr * bi) + wi * br
        vr, vi = 2.0 * ar - ur, 2.0 * ai - ui
        re, im = _stack(ur, vr, 0), _stack(ui, vi, 0)
        re, im = re.reshape(L, r // L, T), im.reshape(L, r // L, T)
        L *= 2
    return re.reshape(r, T), im.reshape(r, T)


def _backward(re, im, factors):
    """Decimation in frequency, the transpose."""
    r, T = re.shape
    L = r
    re, im = re.reshape(r, 1, T), im.reshape(r, 1, T)
    while L >= 2:
        shape = (2, L // 2, r // L, T)
        (ar, br), (ai, bi) = (_unstack(x.reshape(shape), 0) for x in (re, im))
        wr, wi = factors[L]
        dr, di = ar - br, ai - bi
        vr, vi = dr * wr + di * wi, di * wr - dr * wi
        re, im = _stack(ar + br, vr, 1), _stack(ai + bi, vi, 1)
        re, im = re.reshape(L // 2, 2 * r // L, T), im.reshape(L // 2, 2 * r // L, T)
        L //= 2
    return re.reshape(r, T), im.reshape(r, T)


def _exchange(x):
    """Value b of lane a to value a of lane b, among the lanes of a polynomial."""
    r, T = x.shape
    return x.reshape(r, T // r, r).transpose(2, 1, 0).reshape(r, T)


class Machine(NamedTuple):
    """What the interpreter does by other means."""

    barrier: Any
    other: Any
    round: Any


def _asm(code, x, constraints, dtype):
    like = jax.ShapeDtypeStruct(x.shape, dtype)
    return triton.elementwise_inline_asm(
        code, args=[x], constraints=constraints, pack=1, result_shape_dtypes=[like]
    )[0]


def _shuffle(x, r):
    return _asm(f"shfl.sync.bfly.b32 $0, $1, {r}, 31, -1;", x, "=r,r" if x.dtype == jnp.int32 else "=f,f", x.dtype)


def _flip(x, r):
    n, T = x.shape
    return x.reshape(n, T // (2 * r), 2, r)[:, :, ::-1].reshape(n, T)


GPU = Machine(
    lambda: triton.debug_barrier(),
    _shuffle,
    lambda x: _asm("cvt.rni.s32.f32 $0, $1;", x, "=r,f", jnp.int32),
)
INTERPRETER = Machine(lambda: None, _flip, lambda x: jnp.rint(x).astype(jnp.int32))


def _pieces(x, number):
    """Equal pieces of the first axis."""
    if number == 1:
        return [x]
    halves = _unstack(x.reshape(2, x.shape[0] // 2, *x.shape[1:]), 0)
    return [p for half in halves for p in _pieces(half, number // 2)]


def _kernel(plan: Plan, machine: Machine, places, switched, table, factors, key, _, state, *spectra):
    r, N, C, G = plan.radix, plan.size, plan.columns, plan.group
    W = plan.teams
    T = 2 * r * G * W
    index = jnp.arange(T, dtype=jnp.int32)
    # By remainders the compiler sees that lanes are neighbours in memory; by a zero
    # that it does not know it sees no multiple of four, and gives a lane one value.
    zero = triton.load(places.at[pl.program_id(0) * 0])
    rem = lambda a, b: lax.rem(a, jnp.full(T, b, jnp.int32))
    div = lambda a, b: lax.div(a, jnp.full(T, b, jnp.int32))
    lane = rem(index, 2 * r)
    j, h = rem(index, r), rem(div(index, r), 2)
    ciphertext = pl.program_id(0) * G + div(index, 2 * r * W)
    team = rem(div(index, 2 * r), W)
    batch = switched.shape[0] // plan.steps
    lanes = _lane_factors(factors, j + zero, r)
    constants = _constant_factors(r)
    base = ciphertext * (plan.slots * 2 * N) + zero
    chunk = r // plan.chunks if W == 1 else r
    # [T, chunk, 4] or [chunk, T, 4]
    first = plan.lanes_first
    quad = lax.broadcasted_iota(jnp.int32, (1, 1, 4), 2)
    shape = (1, chunk, 1) if first else (chunk, 1, 1)
    quad = quad + lax.broadcasted_iota(jnp.int32, shape, int(first)) * (C * 8 * r)
    quad = quad + ((lane * 4)[:, None, None] if first else (lane * 4)[None, :, None])
    side = (h == 0)[None, :]
    sense = jnp.where(side, jnp.int32(1), jnp.int32(-1))
    up = jnp.where(h == 0, jnp.int32(24), jnp.int32(8))[None, :]
    pairs = len(plan.rows) // 2
    magic = jnp.int32(0x4B000000)
    strided = lax.broadcasted_iota(jnp.int32, (r, 1), 0) * r

    def place(start):
        # Known to be far from overflow, so that constants go into the instructions.
        return ((start & 0x3FFFFFFF) + j)[None, :]

    def digit(x, shift, mask, offset):
        bits = (lax.shift_right_logical(x, jnp.broadcast_to(shift, x.shape)) & mask) | magic
        return lax.bitcast_convert_type(bits, jnp.float32) - offset

    def step(i, none):
        amount = triton.load(switched.at[i * batch + ciphertext])
        turn = base + (N - (amount & (N - 1)))
        sign = -lax.shift_right_logical(amount, jnp.full(T, N.bit_length() - 1, jnp.int32))
        here = base + N

        def forward(q):
            row = (q * 2 + h) * 6
            at, shift, mask, offset, carry = (
                triton.load(table.at[row + f]) for f in range(5)
            )
            shift, mask = shift[None, :], mask[None, :]
            offset = lax.bitcast_convert_type(offset, jnp.float32)[None, :]
            carry = (carry - sign)[None, :]
            turned, still = place(turn + at), place(here + at)
            parts = []
            for t in range(2):
                o = strided + t * (N // 2)
                old = triton.load(state.at[still + o])
                new = triton.load(state.at[turned + o])
                x = ((new ^ sign[None, :]) + carry) - old
                parts.append(digit(x, shift, mask, offset))
            re, im = _forward(parts[0], -parts[1], constants)
            return _forward(_exchange(re), _exchange(im), lanes)

        def pair(q, sums):
            re, im = forward(q)
            where = (i * pairs + q) * (r * C * 8 * r)
            sums = [list(column) for column in sums]
            for u, (xr, xi) in enumerate(
                zip(_pieces(re, plan.chunks), _pieces(im, plan.chunks))
            ):
                re0, im0 = xr, xi
                re1, im1 = machine.other(xr, r), machine.other(xi, r)
                for c in range(C):
                    at = quad + (where + (u * chunk * C + c) * (8 * r))
                    entry = triton.load(key.at[at])
                    if first:
                        entry = entry.transpose(1, 0, 2)
                    row0, row1 = _unstack(entry.reshape(chunk, T, 2, 2), 2)
                    (r0, i0), (r1, i1) = _unstack(row0, 2), _unstack(row1, 2)
                    sr, si = sums[c][u]
                    sr = sr + re0 * r0 - im0 * i0 + re1 * r1 - im1 * i1
                    si = si + re0 * i0 + im0 * r0 + re1 * i1 + im1 * r1
                    sums[c][u] = sr, si
            return tuple(map(tuple, sums))

        def column(c, sums):
            re, im = (_merge([s[p] for s in sums[0]]) for p in range(2))
            backward(c, re, im)
            return (*sums[1:], sums[0])

        def backward(c, re, im):
            re, im = _backward(re, im, lanes)
            re, im = _backward(_exchange(re), _exchange(im), constants)
            re, im = (machine.round(v) << jnp.broadcast_to(up, v.shape) for v in (re, im))
            kept = jnp.where(side, re, im)
            total = kept + machine.other(jnp.where(side, im, re), r)
            at = place(base + c * (2 * N) + h * (N // 2)) + strided
            new = triton.load(state.at[at + N]) + total * sense
            triton.store(state.at[at + N], new)
            triton.store(state.at[at], -new)

        def together():
            re, im = forward(jnp.minimum(team, pairs - 1))
            [shared] = spectra
            mine = ciphertext * (W * 4 * r * r) + zero
            at = place(mine + (team * 2 + h) * (2 * r * r)) + strided
            triton.store(shared.at[at], re)
            triton.store(shared.at[at + r * r], im)
            machine.barrier()
            c = jnp.minimum(team, C - 1)
            sr = si = jnp.zeros((r, T), jnp.float32)
            for q in range(pairs):
                own = place(mine + (q * 2 + h) * (2 * r * r)) + strided
                other = place(mine + (q * 2 + 1 - h) * (2 * r * r)) + strided
                re0, im0, re1, im1 = (
                    triton.load(shared.at[v + o]) for v in (own, other) for o in (0, r * r)
                )
                at = (quad + (i * pairs + q) * (r * C * 8 * r)) + (c * (8 * r))[:, None, None]
                entry = triton.load(key.at[at]).transpose(1, 0, 2)
                row0, row1 = _unstack(entry.reshape(r, T, 2, 2), 2)
                (r0, i0), (r1, i1) = _unstack(row0, 2), _unstack(row1, 2)
                sr = sr + re0 * r0 - im0 * i0 + re1 * r1 - im1 * i1
                si = si + re0 * i0 + im0 * r0 + re1 * i1 + im1 * r1
            backward(team, sr, si)
            machine.barrier()
            return none

        if W > 1:
            return together()
        nothing = jnp.zeros((chunk, T), jnp.float32)
        sums = (((nothing, nothing),) * plan.chunks,) * C
        if plan.loop_pairs:
            sums = lax.fori_loop(0, pairs, pair, sums)
        else:
            for q in range(pairs):
                sums = pair(q, sums)
        machine.barrier()  # all have read the accumulator
        if plan.loop_columns:
            lax.fori_loop(0, C, column, sums)
        else:
            for c in range(C):
                sums = column(c, sums)
                if c < C - 1:
                    machine.barrier()
        machine.barrier()
        return none

    lax.fori_loop(0, plan.steps, step, jnp.int32(0))


def _merge(pieces):
    """The inverse of `_pieces`."""
    if len(pieces) == 1:
        return pieces[0]
    half = len(pieces) // 2
    a, b = _merge(pieces[:half]), _merge(pieces[half:])
    return _stack(a, b, 0).reshape(2 * a.shape[0], *a.shape[1:])


def table(plan: Plan) -> np.ndarray:
    out = []
    for p, shift, bits, carry in plan.rows:
        offset = np.float32(2**23 + 2 ** (bits - 1)).view(np.int32)
        out.append([p * 2 * plan.size, shift, 2**bits - 1, offset, np.uint32(carry).view(np.int32), 0])
    return np.array(out, np.int32).reshape(-1)


def blind_rotate(switched, start, key, plan: Plan, *, interpret=False):
    """int32 [B, n] and uint32 [B, C, N] (already turned by the body)."""
    B = switched.shape[0]
    G = plan.group
    if B % G:
        extra = ((0, -B % G),)
        switched = jnp.pad(switched, (*extra, (0, 0)))
        padded = jnp.pad(start, (*extra, (0, 0), (0, 0)))
        return blind_rotate(switched, padded, key, plan, interpret=interpret)[:B]
    start = torus.signed(start)
    # A team without a column writes to a slot of its own.
    start = jnp.pad(start, ((0, 0), (0, plan.slots - plan.columns), (0, 0)))
    state = jnp.concatenate([-start, start], axis=-1)  # [B, slots, 2N]
    machine = INTERPRETER if interpret else GPU
    inputs = [
        jnp.zeros(1, jnp.int32),
        switched.T.reshape(-1),
        jnp.asarray(table(plan)),
        jnp.asarray(twiddles(plan.radix).reshape(-1)),
        key.reshape(-1),
        state.reshape(-1),
    ]
    like = jax.ShapeDtypeStruct((state.size,), jnp.int32)
    outputs = [like]
    if plan.teams > 1:
        size = B * plan.teams * 4 * plan.radix**2
        outputs.append(jax.ShapeDtypeStruct((size,), jnp.float32))
    out = pl.pallas_call(
        functools.partial(_kernel, plan, machine),
        out_shape=outputs,
        grid=(B // G,),
        input_output_aliases={5: 0},
        compiler_params=triton.CompilerParams(
            num_warps=max(1, 2 * plan.radix * G * plan.teams // 32), num_stages=plan.stages
        ),
        interpret=interpret,
        name="blind_rotation",
    )(*inputs)[0]
    return torus.unsigned(out.reshape(state.shape)[:, : plan.columns, plan.size :])


@functools.cache
def rotator(n: int, k: int, N: int, mask: Gadget, body: Gadget, interpret: bool = False):
    """A blind rotation of one ciphertext that under vmap is one kernel for all."""

    @jax.custom_batching.custom_vmap
    def one(switched, start, key):
        return many(switched[None], start[None], key)[0]

    def many(switched, start, key):
        plan = make_plan(n, k, N, mask, body, **_shape(k, N, switched.shape[0]))
        return blind_rotate(switched, start, key, plan, interpret=interpret)

    @one.def_vmap
    def _(size, batched, switched, start, key):
        if batched[2]:
            raise NotImplementedError("one key for all ciphertexts of a batch")
        switched, start = (
            x if b else jnp.broadcast_to(x, (size, *x.shape))
            for x, b in zip((switched, start), batched, strict=False)
        )
        return many(switched, start, key), True

    return one


def _shape(k: int, N: int, batch: int) -> dict[str, int]:
    lanes = 2 * math.isqrt(N // 2)
    if batch <= 256 and k < 4:
        return {"group": max(1, 8 // lanes), "teams": 4}
    return {"group": max(32 // lanes, 4 if batch >= 1024 else 1)}


def available() -> bool:
    """Whether the kernel runs here."""
    return pl is not None and jax.default_backend() == "gpu"
