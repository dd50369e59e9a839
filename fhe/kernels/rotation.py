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
    loop_halves: bool = False
    stages: int = 1
    chunks: int = 4
    lanes_first: bool = True
    teams: int = 0  # of 2r lanes that share a ciphertext

    @property
    def scratch(self) -> bool:
        return self.teams > 0

    @property
    def slots(self) -> int:
        W = max(self.teams, 1)
        return -(-self.columns // W) * W

    @property
    def shared(self) -> int:
        """Spectra in units of r * r."""
        W = max(self.teams, 1)
        return -(-len(self.rows) // 2 // W) * W * 4

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
    spectrum = np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)
    # From limb, step, pair, row, column, k2, k1, part.
    out = spectrum.transpose(1, 2, 5, 4, 0, 6, 3, 7)
    return jnp.asarray(out.reshape(*lead, (R + 1) // 2, r, C, 2 * r, 2, 2))


def spectrum(key: jax.Array) -> jax.Array:
    """One prepared key as complex64 `[R, 2 * C, N / 2]`, unscaled: see fft32."""
    pairs, r, C, _, _, _ = key.shape
    limbs = key.reshape(pairs, r, C, 2, r, 2, 2)
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


def _constant(values: np.ndarray):
    """[K, R] as [K, R, 1], made where a kernel may not hold arrays."""
    K, R = values.shape
    index = lax.broadcasted_iota(jnp.int32, (K, 1, 1), 0) * R
    index = index + lax.broadcasted_iota(jnp.int32, (1, R, 1), 1)
    out = jnp.full(index.shape, float(values[0, 0]), jnp.float32)
    for k, value in enumerate(values.reshape(-1)[1:]):
        out = jnp.where(index == k + 1, jnp.float32(value), out)
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
        out[L] = tuple(_constant(part(ws)[:, None]) for part in (np.real, np.imag))
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


def _backward_constant(re, im):
    """`_backward` with factors that are known: cosines are left to the end."""
    r, T = re.shape
    L = r
    scale = np.ones((r, 1))
    re, im = re.reshape(r, 1, T), im.reshape(r, 1, T)
    while L >= 2:
        R = r // L
        shape = (2, L // 2, R, T)
        (ar, br), (ai, bi) = (_unstack(x.reshape(shape), 0) for x in (re, im))
        first, second = scale.reshape(2, L // 2, R)
        angle = 2 * np.pi * (np.arange(L // 2)[:, None] + _SHIFT) / L
        if L < r:
            ratio = _constant(second / first)
            br, bi = ratio * br, ratio * bi
        tangent = _constant(np.tan(angle))
        dr, di = ar - br, ai - bi
        vr, vi = dr - tangent * di, di + tangent * dr
        re, im = _stack(ar + br, vr, 1), _stack(ai + bi, vi, 1)
        scale = np.stack([first, first * np.cos(angle)], 1)
        re, im = re.reshape(L // 2, 2 * R, T), im.reshape(L // 2, 2 * R, T)
        L //= 2
    scale = _constant(scale.reshape(r, 1))[:, 0]
    return re.reshape(r, T) * scale, im.reshape(r, T) * scale


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


def _parts(x):
    """[T, l, 4] as four [l, T]."""
    T, l, _ = x.shape
    first, second = _unstack(x.transpose(1, 0, 2).reshape(l, T, 2, 2), 2)
    return (*_unstack(first, 2), *_unstack(second, 2))


def _gather(sums, G, W, r):
    """From all ciphertexts of some frequencies to all frequencies of a ciphertext."""
    l, T = sums[0].shape
    # Ciphertext and limb in front; a lane is a share, a team, half of it and k1.
    x = _merge([s[None] for s in sums]).reshape(G, 2, l, G, W, 2, r)
    return x.transpose(3, 5, 2, 0, 4, 1, 6).reshape(r, T)


def _kernel(plan: Plan, machine: Machine, places, switched, table, factors, key, _, state, *spectra):
    r, N, C, G = plan.radix, plan.size, plan.columns, plan.group
    W = max(plan.teams, 1)
    T = 2 * r * G * W
    index = jnp.arange(T, dtype=jnp.int32)
    # By remainders the compiler sees that lanes are neighbours in memory; by a zero
    # that it does not know it sees no multiple of four, and gives a lane one value.
    zero = triton.load(places.at[pl.program_id(0) * 0])
    rem = lambda a, b: lax.rem(a, jnp.full(T, b, jnp.int32))
    div = lambda a, b: lax.div(a, jnp.full(T, b, jnp.int32))
    lane = rem(index, 2 * r)
    j, h = rem(index, r), rem(div(index, r), 2)
    program = pl.program_id(0)
    ciphertext = program * G + div(index, 2 * r * W)
    team = rem(div(index, 2 * r), W)
    batch = switched.shape[0] // plan.steps
    lanes = _lane_factors(factors, j + zero, r)
    constants = _constant_factors(r)
    base = ciphertext * (plan.slots * 2 * N) + zero
    chunk = r if plan.scratch else r // plan.chunks
    # [T, chunk, 4] or [chunk, T, 4]
    first = plan.lanes_first
    quad = lax.broadcasted_iota(jnp.int32, (1, 1, 4), 2)
    shape = (1, chunk, 1) if first else (chunk, 1, 1)
    quad = quad + lax.broadcasted_iota(jnp.int32, shape, int(first)) * (C * 8 * r)
    quad = quad + ((lane * 4)[:, None, None] if first else (lane * 4)[None, :, None])
    along = lax.broadcasted_iota(jnp.int32, (1, r, 1), 1)
    two = lax.broadcasted_iota(jnp.int32, (1, 1, 2), 2)
    four = lax.broadcasted_iota(jnp.int32, (1, 1, 4), 2)
    side = (h == 0)[None, :]
    kept_unit = jnp.where(side, jnp.int32(1 << 24), jnp.int32(-(1 << 8)))
    other_unit = jnp.where(side, jnp.int32(1 << 8), jnp.int32(-(1 << 24)))
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

            def half(t, parts):
                o = strided + t * (N // 2)
                old = triton.load(state.at[still + o])
                new = triton.load(state.at[turned + o])
                x = ((new ^ sign[None, :]) + carry) - old
                return parts[1], digit(x, shift, mask, offset)

            parts = (jnp.zeros((r, T), jnp.float32),) * 2
            if plan.loop_halves:
                parts = lax.fori_loop(0, 2, half, parts)
            else:
                parts = half(1, half(0, parts))
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
            return (*sums[1:], sums[-1])

        def backward(c, re, im):
            re, im = _backward(re, im, lanes)
            re, im = _backward_constant(_exchange(re), _exchange(im))
            kept = machine.round(jnp.where(side, re, im))
            other = machine.other(machine.round(jnp.where(side, im, re)), r)
            at = place(base + c * (2 * N) + h * (N // 2)) + strided
            new = triton.load(state.at[at + N])
            new = new + kept * kept_unit + other * other_unit
            triton.store(state.at[at + N], new)
            triton.store(state.at[at], -new)

        def together():
            [shared] = spectra
            mine = ciphertext * (plan.shared * r * r)

            def ahead(m, none):
                slot = team + m * W
                re, im = forward(jnp.minimum(slot, pairs - 1))
                at = mine + slot * (4 * r * r) + h * 2 + j * 4
                at = at[:, None, None] + along * (4 * r) + two
                spectrum = jnp.stack([re.T, im.T], axis=-1)
                triton.store(shared.at[at], spectrum)
                return none

            lax.fori_loop(0, -(-pairs // W), ahead, none)
            machine.barrier()
            everyone = program * G * (plan.shared * r * r)
            # Lanes share the frequencies out, l at a time, for all ciphertexts.
            l = r // (2 * G)
            k2 = (div(index, 2 * r * W) * 2 + h) * l
            within = ((k2 * r + j) * 4)[:, None, None] + four
            within = within + lax.broadcasted_iota(jnp.int32, (1, l, 1), 1) * (4 * r)
            entries = (k2 * (C * 2 * r) + j)[:, None, None] * 4 + four
            entries = entries + lax.broadcasted_iota(jnp.int32, (1, l, 1), 1) * (C * 8 * r)

            def back(m, none):
                c = jnp.minimum(team + m * W, C - 1)

                def add(q, sums):
                    sums = list(sums)
                    place = entries + (i * pairs + q) * (r * C * 8 * r)
                    place = place + (c * (8 * r))[:, None, None]
                    columns = [
                        _parts(triton.load(key.at[place + limb * (4 * r)]))
                        for limb in range(2)
                    ]
                    for g in range(G):
                        at = within + (everyone + (g * plan.shared + q * 4) * (r * r))
                        re0, im0, re1, im1 = _parts(triton.load(shared.at[at]))
                        for limb, (r0, i0, r1, i1) in enumerate(columns):
                            n = 2 * (2 * g + limb)
                            sr, si = sums[n], sums[n + 1]
                            sr = sr + re0 * r0 - im0 * i0 + re1 * r1 - im1 * i1
                            si = si + re0 * i0 + im0 * r0 + re1 * i1 + im1 * r1
                            sums[n], sums[n + 1] = sr, si
                    return tuple(sums)

                sums = (jnp.zeros((l, T), jnp.float32),) * (4 * G)
                if plan.loop_pairs:
                    sums = lax.fori_loop(0, pairs, add, sums)
                else:
                    for q in range(pairs):
                        sums = add(q, sums)
                re, im = (_gather(sums[p::2], G, W, r) for p in range(2))
                backward(team + m * W, re, im)
                return none

            lax.fori_loop(0, -(-C // W), back, none)
            machine.barrier()
            return none

        if plan.scratch:
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
    if plan.scratch:
        size = B * plan.shared * plan.radix**2
        outputs.append(jax.ShapeDtypeStruct((size,), jnp.float32))
    out = pl.pallas_call(
        functools.partial(_kernel, plan, machine),
        out_shape=outputs,
        grid=(B // G,),
        input_output_aliases={5: 0},
        compiler_params=triton.CompilerParams(
            num_warps=max(1, 2 * plan.radix * G * max(plan.teams, 1) // 32), num_stages=plan.stages
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
        plan = make_plan(n, k, N, mask, body, **_shape(N, switched.shape[0]))
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


def _shape(N: int, batch: int) -> dict[str, int]:
    if batch <= 256 or N < 128:
        return {"group": 1, "teams": 4}
    return {"group": 4, "teams": 1}


def available() -> bool:
    """Whether the kernel runs here."""
    return pl is not None and jax.default_backend() == "gpu"
