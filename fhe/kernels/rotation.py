"""A whole blind rotation as one Pallas kernel.

Each step of `bootstrap.blind_rotate` by the two limbs of the method fft32, without
leaving the chip: ciphertexts stay with their program over all n steps, whose key rows
come by way of the caches, once for all ciphertexts of a program.

A team of `2 r` lanes, a warp for N = 512, transforms two polynomials at a time by
`fhe.kernels.transform`: first two rows of digits, at last the two limbs of a column.
In between lanes share out the frequencies, each for all ciphertexts of the program, so
that a key value is loaded once for them. Accumulators and spectra go from one lane to
another through memory, in practice a multiprocessor's cache.

The loops over pairs of rows and over columns are there for the instruction cache: code
unrolled would be waited for. The kernel needs Pallas' Triton lowering; `available` says
whether there is one.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fhe import torus
from fhe.gadget import Gadget, carry
from fhe.kernels import transform

try:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton
except ImportError:  # a JAX without this lowering
    pl = triton = None  # type: ignore[assignment]

_LOW = 24  # bits of the key's lower limb
_UNIT = 2.0**-8  # of the lower limb's sums, which in units of one exceed 32 bits
_SMALL = 256  # ciphertexts up to which four teams work on each
_FIELDS = 5  # of a row in the table of digits


def available() -> bool:
    """Whether the kernel can run here: on a GPU of NVIDIA, with this JAX."""
    return pl is not None and jax.default_backend() == "gpu"


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
        group: ciphertexts of a program, a power of two up to r / 2.
        teams: that share the work on a ciphertext, a power of two.
    """

    steps: int
    columns: int
    size: int
    mask: Gadget
    body: Gadget
    group: int
    teams: int

    @property
    def radix(self) -> int:
        """r, the length of a round of a transform."""
        return math.isqrt(self.size // 2)

    @property
    def lanes(self) -> int:
        """Of a program."""
        return 2 * self.radix * self.teams * self.group

    @property
    def pairs(self) -> int:
        """Of rows."""
        return (len(_rows(self)) + 1) // 2

    @property
    def pair_slots(self) -> int:
        """Pairs and what teams without a pair write."""
        return -(-self.pairs // self.teams) * self.teams

    @property
    def column_slots(self) -> int:
        """Columns and what teams without a column write."""
        return -(-self.columns // self.teams) * self.teams


def layout(size: int, batch: int) -> tuple[int, int]:
    """The fastest group and teams for a batch (measured on an H100)."""
    return (1, 4) if batch <= _SMALL or size < 128 else (4, 1)


def _rows(plan: Plan) -> list[tuple[int, Gadget, int]]:
    """Component, gadget and level of each row."""
    gadgets = [plan.mask] * (plan.columns - 1) + [plan.body]
    return [
        (p, gadget, level)
        for p, gadget in enumerate(gadgets)
        for level in range(1, gadget.levels + 1)
    ]


def _table(plan: Plan) -> np.ndarray:
    """How to find a row's digits, int32 `[2 * pairs * _FIELDS]`."""
    rows = _rows(plan)
    rows += rows[-1:] * (2 * plan.pairs - len(rows))  # whose key is zero
    found = []
    for p, gadget, level in rows:
        # As the bits of a float: 2**23 and the digit's offset.
        offset = np.float32(2**23 + 2 ** (gadget.log_base - 1)).view(np.int32)
        found.append(
            [
                p * 2 * plan.size,
                torus.BITS - level * gadget.log_base,
                (1 << gadget.log_base) - 1,
                offset,
                np.uint32(carry(gadget)).view(np.int32),
            ]
        )
    return np.array(found, np.int32).reshape(-1)


def prepare(key: Any) -> jax.Array:
    """Spectra of a key's two limbs, in the order in which lanes read them.

    Args:
        key: uint32 `[..., R, C, N]` for a size that `supports` knows.

    Returns:
        float32 `[..., Q, r, C, 2, r, 2, 2]`: pair of rows, upper half of the frequency,
        column, limb, lower half of the frequency, row (for the lower limb the other one
        first) and part.
    """
    key = np.asarray(key)
    *lead, R, C, N = key.shape
    r, pairs = math.isqrt(N // 2), (R + 1) // 2
    low = (key.view(np.int32) << (32 - _LOW)) >> (32 - _LOW)
    high = (key - low.view(np.uint32)).view(np.int32) >> _LOW
    # Scaled for the inverse transform too. In float64, as for fft32.
    limbs = np.stack([high, low * _UNIT]) * (2.0 / N)
    half = limbs[..., : N // 2] - 1j * limbs[..., N // 2 :]
    twist = np.exp(-1j * np.pi * np.arange(N // 2) / N)
    values = np.fft.fft(half * twist).reshape(2, -1, R, C, N // 2)
    if R % 2:
        values = np.concatenate([values, 0 * values[:, :, :1]], axis=2)
    parts = np.stack([values.real, values.imag], axis=-1).astype(np.float32)
    parts = parts.reshape(2, -1, pairs, 2, C, r, r, 2)
    # Lanes of the second half read the lower limb, and hold the second row.
    parts[1] = parts[1, :, :, ::-1]
    found = parts.transpose(1, 2, 5, 4, 0, 6, 3, 7)
    return jnp.asarray(found.reshape(*lead, *found.shape[1:]))


def spectrum(key: jax.Array) -> jax.Array:
    """One entry of a prepared key as fft32 has it: complex64 `[R, 2 * C, N / 2]`."""
    pairs, r, C = key.shape[:3]
    values = lax.complex(key[..., 0], key[..., 1])
    lower = values[:, :, :, 1, :, ::-1]
    values = jnp.stack([values[:, :, :, 0], lower], axis=3)
    values = values.transpose(0, 5, 3, 2, 1, 4).reshape(2 * pairs, 2, C, r * r)
    scale = jnp.array([r * r, r * r / _UNIT], jnp.float32)[:, None, None]
    return (values * scale).reshape(2 * pairs, 2 * C, r * r)


@dataclasses.dataclass(frozen=True)
class _Machine:
    """What a GPU and the interpreter do in different ways."""

    barrier: Callable[[], None]
    across: Callable[[jax.Array, int], jax.Array]  # from a team's other half
    round: Callable[[jax.Array], jax.Array]  # to int32
    fma: transform.Fma


def _instruction(
    code: str, operands: list[jax.Array], registers: str, dtype: Any
) -> jax.Array:
    [found] = triton.elementwise_inline_asm(
        code,
        args=operands,
        constraints=registers,
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(operands[0].shape, dtype)],
    )
    return found


def _shuffle(x: jax.Array, r: int) -> jax.Array:
    code = f"shfl.sync.bfly.b32 $0, $1, {r}, 31, -1;"
    registers = "=f,f" if x.dtype == jnp.float32 else "=r,r"
    return _instruction(code, [x], registers, x.dtype)


_FUSED = {
    "ab + c": "fma.rn.f32 $0, $1, $2, $3;",
    "ab - c": "{ .reg .f32 n; neg.f32 n, $3; fma.rn.f32 $0, $1, $2, n; }",
    "c - ab": "{ .reg .f32 n; neg.f32 n, $1; fma.rn.f32 $0, n, $2, $3; }",
}


def _fused(a: Any, b: jax.Array, c: jax.Array, what: str = "ab + c") -> jax.Array:
    # The compiler would leave a product and a sum as they are.
    shape = jnp.broadcast_shapes(jnp.shape(a), b.shape, c.shape)
    operands = [jnp.broadcast_to(jnp.float32(x), shape) for x in (a, b, c)]
    return _instruction(_FUSED[what], operands, "=f,f,f,f", jnp.float32)


def _unfused(a: Any, b: jax.Array, c: jax.Array, what: str = "ab + c") -> jax.Array:
    product = a * b
    if what == "ab + c":
        return product + c
    return product - c if what == "ab - c" else c - product


def _flip(x: jax.Array, r: int) -> jax.Array:
    rows, T = x.shape
    return x.reshape(rows, T // (2 * r), 2, r)[:, :, ::-1].reshape(rows, T)


_GPU = _Machine(
    lambda: triton.debug_barrier(),
    _shuffle,
    # Unlike a conversion by JAX's rules it need not look for numbers out of range.
    lambda x: _instruction("cvt.rni.s32.f32 $0, $1;", [x], "=r,f", jnp.int32),
    _fused,
)
_INTERPRETER = _Machine(
    lambda: None,
    _flip,
    lambda x: jnp.rint(x).astype(jnp.int32),
    _unfused,
)


def _factors(x: jax.Array) -> tuple[transform.Pair, transform.Pair]:
    """`[T, l, 4]` as two complex `[l, T]`."""
    T, l, _ = x.shape
    first, second = transform.split(x.transpose(1, 0, 2).reshape(l, T, 2, 2), 2)
    return transform.split(first, 2), transform.split(second, 2)


def _add(
    fma: transform.Fma, to: transform.Pair, a: transform.Pair, b: transform.Pair
) -> transform.Pair:
    """A complex product added."""
    (re, im), (ar, ai), (br, bi) = to, a, b
    return fma(ai, bi, fma(ar, br, re), "c - ab"), fma(ai, br, fma(ar, bi, im))


def _kernel(
    plan: Plan,
    machine: _Machine,
    unknown: Any,
    amounts: Any,
    table: Any,
    factors: Any,
    key: Any,
    _: Any,
    state: Any,
    shared: Any,
) -> None:
    """All steps for `plan.group` ciphertexts.

    Args:
        plan: sizes.
        machine: of instructions.
        unknown: int32 `[1]`, a zero.
        amounts: int32 `[n * B]`, of the turns.
        table: see `_table`.
        factors: see `transform.lane_table`.
        key: see `prepare`, flat.
        state: int32 `[B * column_slots * 2 * N]`: accumulators negated and as they are.
        shared: float32 `[B * pair_slots * 2 * N]`: spectra of digits by pair,
            frequency, row and part.
    """
    r, N, C, G, W, T = (
        plan.radix,
        plan.size,
        plan.columns,
        plan.group,
        plan.teams,
        plan.lanes,
    )
    fma = machine.fma
    batch = amounts.shape[0] // plan.steps
    lane = jnp.arange(T, dtype=jnp.int32)
    full = functools.partial(jnp.full, T, dtype=jnp.int32)
    # By divisions the compiler sees that lanes are neighbours in memory. By a zero that
    # it does not know it does not see alignment, and gives no lane two neighbours.
    zero = triton.load(unknown.at[pl.program_id(0) * 0])
    j = lax.rem(lane, full(r))
    half = lax.rem(lax.div(lane, full(r)), full(2))
    team = lax.rem(lax.div(lane, full(2 * r)), full(W))
    member = lax.div(lane, full(2 * r * W))
    first = pl.program_id(0) * G
    ciphertext = first + member
    accumulator = ciphertext * (plan.column_slots * 2 * N) + zero
    spectra = plan.pair_slots * 4 * r * r

    by_lane = transform.lane_factors(
        lambda place: triton.load(factors.at[place]), j + zero, r
    )
    by_register = transform.constant_factors(r)
    registers = lax.broadcasted_iota(jnp.int32, (r, 1), 0) * r

    def place(start: jax.Array) -> jax.Array:
        # Visibly far from overflow, so that registers' offsets go into instructions.
        return ((start & 0x3FFFFFFF) + j)[None, :] + registers

    # Lanes share the frequencies out, l each.
    l = r // (2 * G)
    upper = (member * 2 + half) * l
    quarter = lax.broadcasted_iota(jnp.int32, (1, 1, 4), 2)
    nth = lax.broadcasted_iota(jnp.int32, (1, l, 1), 1)
    in_spectra = ((upper * r + j) * 4)[:, None, None] + quarter + nth * (4 * r)
    in_key = ((upper * (2 * C * r) + j) * 4)[:, None, None] + quarter
    in_key = in_key + nth * (8 * C * r)

    all_in_key = (lax.rem(lane, full(2 * r)) * 4)[:, None, None] + quarter
    all_in_key = all_in_key + lax.broadcasted_iota(jnp.int32, (1, r, 1), 1) * (8 * C * r)

    is_first = (half == 0)[None, :]
    # Results of the second half of lanes are imaginary parts, which count negatively.
    own_unit = jnp.where(is_first, 1 << _LOW, -int(1 / _UNIT)).astype(jnp.int32)
    other_unit = jnp.where(is_first, int(1 / _UNIT), -(1 << _LOW)).astype(jnp.int32)

    def step(i: jax.Array, sums: tuple) -> tuple:
        amount = triton.load(amounts.at[i * batch + ciphertext])
        turn = accumulator + (N - (amount & (N - 1)))
        sign = -lax.shift_right_logical(amount, full(N.bit_length() - 1))

        def transform_pair(pair: jax.Array) -> transform.Pair:
            row = (pair * 2 + half) * _FIELDS
            component, shift, mask, offset, carried = (
                triton.load(table.at[row + field]) for field in range(_FIELDS)
            )
            offset = lax.bitcast_convert_type(offset, jnp.float32)[None, :]
            turned = place(turn + component)
            still = place(accumulator + component + N)
            parts = []
            for start in (0, N // 2):
                new = triton.load(state.at[turned + start])
                old = triton.load(state.at[still + start])
                x = ((new ^ sign[None, :]) + (carried - sign)[None, :]) - old
                bits = lax.shift_right_logical(x, jnp.broadcast_to(shift, x.shape))
                # An integer below 2**23 in the mantissa of 2**23.
                bits = (bits & mask[None, :]) | jnp.int32(0x4B000000)
                digit = lax.bitcast_convert_type(bits, jnp.float32)
                parts.append(offset - digit if start else digit - offset)
            re, im = transform.forward(*parts, by_register, fma)
            re, im = transform.exchange(re), transform.exchange(im)
            return transform.forward(re, im, by_lane, fma)

        def write_pair(m: jax.Array, none: jax.Array) -> jax.Array:
            slot = team + m * W
            re, im = transform_pair(jnp.minimum(slot, plan.pairs - 1))
            at = ciphertext * spectra + slot * (4 * r * r) + j * 4 + half * 2
            at = at[:, None, None] + lax.broadcasted_iota(jnp.int32, (1, r, 1), 1) * (4 * r)
            at = at + lax.broadcasted_iota(jnp.int32, (1, 1, 2), 2)
            triton.store(shared.at[at], jnp.stack([re.T, im.T], axis=-1))
            return none

        def add_pair(pair: jax.Array, sums: tuple) -> tuple:
            re, im = transform_pair(pair)
            start = (i * plan.pairs + pair) * (8 * C * r * r)
            a, b = (re, im), (machine.across(re, r), machine.across(im, r))
            found = []
            for column, (re, im) in enumerate(sums):
                at = all_in_key + (start + column * (8 * r))
                c, d = _factors(triton.load(key.at[at]))
                found.append(_add(fma, _add(fma, (re, im), a, c), b, d))
            return tuple(found)

        def read_column(m: jax.Array, none: jax.Array) -> jax.Array:
            slot = team + m * W
            column = jnp.minimum(slot, C - 1) * (8 * r)

            def multiply(q: jax.Array, sums: tuple) -> tuple:
                start = (i * plan.pairs + q) * (8 * C * r * r)
                start = in_key + (start + column)[:, None, None]
                high = _factors(triton.load(key.at[start]))
                low = _factors(triton.load(key.at[start + 4 * r]))
                found = []
                for g in range(G):
                    at = in_spectra + ((first + g) * spectra + q * (4 * r * r))
                    a, b = _factors(triton.load(shared.at[at]))
                    # The lower limb has its rows the other way round.
                    for c, d in (high, low[::-1]):
                        found.append(_add(fma, _add(fma, sums[len(found)], a, c), b, d))
                return tuple(found)

            zeros = (jnp.zeros((l, T), jnp.float32),) * 2
            sums = lax.fori_loop(0, plan.pairs, multiply, (zeros,) * (2 * G))
            re, im = (_collect(plan, [s[part] for s in sums]) for part in range(2))
            transform_column(slot, re, im)
            return none

        def take_column(c: jax.Array, sums: tuple) -> tuple:
            transform_column(c, *sums[0])
            return (*sums[1:], nothing)

        def transform_column(slot: jax.Array, re: jax.Array, im: jax.Array) -> None:
            re, im = transform.backward(re, im, by_lane, fma)
            re, im = transform.exchange(re), transform.exchange(im)
            re, im = transform.backward_constant(re, im, fma)
            # A lane keeps one part of both limbs.
            own = machine.round(jnp.where(is_first, re, im))
            other = machine.round(jnp.where(is_first, im, re))
            at = place(accumulator + slot * (2 * N) + half * (N // 2))
            new = triton.load(state.at[at + N])
            new = new + own * own_unit + machine.across(other, r) * other_unit
            triton.store(state.at[at + N], new)
            triton.store(state.at[at], -new)

        if W == 1:
            sums = lax.fori_loop(0, plan.pairs, add_pair, sums)
            machine.barrier()
            sums = lax.fori_loop(0, C, take_column, sums)
        else:
            lax.fori_loop(0, plan.pair_slots // W, write_pair, 0)
            machine.barrier()
            lax.fori_loop(0, plan.column_slots // W, read_column, 0)
        machine.barrier()
        return sums

    nothing = (jnp.zeros((r, T), jnp.float32),) * 2
    lax.fori_loop(0, plan.steps, step, (nothing,) * C if W == 1 else ())


def _collect(plan: Plan, sums: list[jax.Array]) -> jax.Array:
    """From all ciphertexts at some frequencies to one at all, `[r, T]`.

    Args:
        plan: sizes.
        sums: float32 `[l, T]` for each ciphertext and limb.
    """
    r, G, W = plan.radix, plan.group, plan.teams
    # Ciphertext, limb, frequency; the lane's share, team, half of the share and k1.
    x = transform.merge([s[None] for s in sums]).reshape(G, 2, -1, G, W, 2, r)
    return x.transpose(3, 5, 2, 0, 4, 1, 6).reshape(r, plan.lanes)


def blind_rotate(
    switched: jax.Array,
    start: jax.Array,
    key: jax.Array,
    plan: Plan,
    *,
    interpret: bool = False,
) -> jax.Array:
    """`bootstrap.blind_rotate` of a batch, from a start that is turned already.

    Args:
        switched: int32 `[B, n]` in `[0, 2N)`.
        start: uint32 `[B, k + 1, N]`.
        key: see `prepare`, with a leading axis n.
        plan: sizes.
        interpret: run the kernel by Pallas' interpreter, on any device.

    Returns:
        uint32 `[B, k + 1, N]`.
    """
    B, C, N = start.shape
    if B % plan.group:
        extra = -B % plan.group
        switched = jnp.pad(switched, ((0, extra), (0, 0)))
        start = jnp.pad(start, ((0, extra), (0, 0), (0, 0)))
        found = blind_rotate(switched, start, key, plan, interpret=interpret)
        return found[:B]
    state = torus.signed(start)
    state = jnp.pad(state, ((0, 0), (0, plan.column_slots - C), (0, 0)))
    state = jnp.concatenate([-state, state], axis=-1)
    inputs = [
        jnp.zeros(1, jnp.int32),
        switched.T.reshape(-1),
        jnp.asarray(_table(plan)),
        jnp.asarray(transform.lane_table(plan.radix)),
        key.reshape(-1),
        state.reshape(-1),
    ]
    found, _ = pl.pallas_call(
        functools.partial(_kernel, plan, _INTERPRETER if interpret else _GPU),
        out_shape=[
            jax.ShapeDtypeStruct((state.size,), jnp.int32),
            jax.ShapeDtypeStruct((B * plan.pair_slots * 2 * N,), jnp.float32),
        ],
        grid=(B // plan.group,),
        input_output_aliases={len(inputs) - 1: 0},
        compiler_params=triton.CompilerParams(
            num_warps=max(1, plan.lanes // 32), num_stages=1
        ),
        interpret=interpret,
        name="blind_rotation",
    )(*inputs)
    return torus.unsigned(found.reshape(state.shape)[:, :C, N:])


@functools.cache
def rotator(
    mask: Gadget, body: Gadget, *, interpret: bool = False
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """`blind_rotate` of one ciphertext; under vmap one kernel does all."""

    def many(switched: jax.Array, start: jax.Array, key: jax.Array) -> jax.Array:
        B, C, N = start.shape
        n = switched.shape[1]
        plan = Plan(n, C, N, mask, body, *layout(N, B))
        return blind_rotate(switched, start, key, plan, interpret=interpret)

    @jax.custom_batching.custom_vmap
    def one(switched: jax.Array, start: jax.Array, key: jax.Array) -> jax.Array:
        return many(switched[None], start[None], key)[0]

    @one.def_vmap
    def _(
        size: int, has: list[bool], switched: jax.Array, start: jax.Array, key: Any
    ) -> tuple[jax.Array, bool]:
        if has[2]:
            raise NotImplementedError("a kernel rotates all ciphertexts by one key")
        if not has[0]:
            switched = jnp.broadcast_to(switched, (size, *switched.shape))
        if not has[1]:
            start = jnp.broadcast_to(start, (size, *start.shape))
        return many(switched, start, key), True

    return one
