"""The code of one program of the blind rotation's kernel.

A team of `2 r` lanes, a warp for N = 512, transforms two polynomials at a time, see
`fhe.kernels.transform`: the digits of two rows, and in the end the two limbs of a
column. A team works on a ciphertext alone; or several teams take a pair of rows and a
column each, which is slower but sooner done. Accumulators, which turn, go through
memory, in practice through caches; spectra and sums stay in registers.

The loops over pairs of rows and over columns keep the code within the instruction
cache. Lanes exchange values by reshaping alone, since the compiler chooses which lane
holds what: an instruction between lanes would meet others than it means.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from fhe.kernels import layout, transform
from fhe.kernels.instructions import Machine
from fhe.kernels.layout import Plan
from fhe.kernels.transform import Pair

try:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton
except ImportError:  # a JAX without this lowering
    pl = triton = None  # type: ignore[assignment]


class Refs(NamedTuple):
    """The kernel's arrays.

    Attributes:
        unknown: int32 `[1]`, a zero.
        amounts: int32 `[n * B]`, of the turns; unused where there are bundles.
        digits: see `layout.digit_table`.
        factors: see `transform.lane_table`.
        key: see `layout.prepare`, flat; bundles by step and ciphertext.
        start: where `state` comes from.
        state: int32 `[B * column_slots * 2 * N]`, accumulators negated and as they are.
    """

    unknown: Any
    amounts: Any
    digits: Any
    factors: Any
    key: Any
    start: Any
    state: Any


class _Lanes(NamedTuple):
    """Who a lane is, int32 `[T]`, and what it holds through all steps."""

    place: jax.Array  # below r
    half: jax.Array  # of the team
    team: jax.Array
    first: jax.Array  # of the program's ciphertexts, a scalar
    member: jax.Array  # which of them
    ciphertext: jax.Array
    accumulator: jax.Array  # where it starts
    turn: Callable[..., Pair]  # the round by lanes
    adjoint: Callable[..., Pair]
    unknown: jax.Array  # a zero that the compiler does not know


class _Turn(NamedTuple):
    """A step's rotation, int32 `[T]`."""

    start: jax.Array  # where the turned accumulator's first component starts
    sign: jax.Array  # 0 or -1


def _lanes(plan: Plan, machine: Machine, refs: Refs) -> _Lanes:
    r, T = plan.radix, plan.lanes
    full = functools.partial(jnp.full, T, dtype=jnp.int32)
    number = jnp.arange(T, dtype=jnp.int32)
    # By divisions the compiler sees that lanes are neighbours in memory. By a zero that
    # it does not know it does not see alignment, and gives no lane two neighbours.
    zero = triton.load(refs.unknown.at[pl.program_id(0) * 0])
    place = lax.rem(number, full(r))
    member = lax.div(number, full(2 * r * plan.teams))
    first = pl.program_id(0) * plan.group
    ciphertext = first + member
    factors = transform.lane_factors(
        lambda at: triton.load(refs.factors.at[at]), place + zero, r
    )
    return _Lanes(
        place,
        half=lax.rem(lax.div(number, full(r)), full(2)),
        team=lax.rem(lax.div(number, full(2 * r)), full(plan.teams)),
        first=first,
        member=member,
        ciphertext=ciphertext,
        accumulator=ciphertext * (plan.column_slots * 2 * plan.size) + zero,
        turn=functools.partial(transform.forward, factors=factors, fma=machine.fma),
        adjoint=functools.partial(transform.backward, factors=factors, fma=machine.fma),
        unknown=zero,
    )


def _along(count: int, stride: int, axis: int, ndim: int) -> jax.Array:
    """Multiples of a stride along one of several axes."""
    shape = [1] * ndim
    shape[axis] = count
    return lax.broadcasted_iota(jnp.int32, tuple(shape), axis) * stride


def _coefficients(plan: Plan, lanes: _Lanes, start: jax.Array) -> jax.Array:
    """Places of a lane's half of a polynomial's coefficients, `[r, T]`."""
    # Visibly far from overflow, so that registers' offsets go into instructions.
    first = (start & 0x3FFFFFFF) + lanes.place
    return first[None, :] + _along(plan.radix, plan.radix, 0, 2)


def _digit_fields(
    plan: Plan, refs: Refs, lanes: _Lanes, pair: Any
) -> tuple[jax.Array, ...]:
    """How to find the digits of a row, by halves of a team those of two."""
    row = (pair * 2 + lanes.half) * layout.FIELDS
    return tuple(
        triton.load(refs.digits.at[row + field]) for field in range(layout.FIELDS)
    )


def _find_digits(
    plan: Plan,
    refs: Refs,
    lanes: _Lanes,
    turn: _Turn | None,
    fields: tuple[jax.Array, ...],
) -> Pair:
    """Digits of a row, the halves of the polynomial as a complex number's parts."""
    N = plan.size
    component, shift, mask, offset, carried = fields
    offset = lax.bitcast_convert_type(offset, jnp.float32)[None, :]
    still = _coefficients(plan, lanes, lanes.accumulator + component + N)
    if turn is not None:
        turned = _coefficients(plan, lanes, turn.start + component)
    re = im = offset
    for half in (0, N // 2):
        old = triton.load(refs.state.at[still + half])
        if turn is None:
            x = old + carried[None, :]
        else:
            new = triton.load(refs.state.at[turned + half])
            # With the sign that a turn by N or more changes.
            x = ((new ^ turn.sign[None, :]) + (carried - turn.sign)[None, :]) - old
        bits = lax.shift_right_logical(x, jnp.broadcast_to(shift, x.shape))
        bits = (bits & mask[None, :]) | jnp.int32(0x4B000000)  # 2**23 as a float
        digit = lax.bitcast_convert_type(bits, jnp.float32)
        re, im = (re, offset - digit) if half else (digit - offset, im)
    return re, im


def _transform(plan: Plan, machine: Machine, lanes: _Lanes, digits: Pair) -> Pair:
    """Spectra of digits."""
    factors = transform.constant_factors(plan.radix)
    re, im = transform.forward(*digits, factors, machine.fma)
    return lanes.turn(transform.exchange(re), transform.exchange(im))


def _own(
    plan: Plan, refs: Refs, lanes: _Lanes, slot: Any
) -> tuple[jax.Array, jax.Array]:
    """Where the part of a column is that a lane adds to, and what is there."""
    N = plan.size
    start = lanes.accumulator + slot * (2 * N) + lanes.half * (N // 2)
    at = _coefficients(plan, lanes, start)
    return at, triton.load(refs.state.at[at + N])


def _transform_column(
    plan: Plan,
    machine: Machine,
    refs: Refs,
    lanes: _Lanes,
    own: tuple[jax.Array, jax.Array],
    sums: Pair,
) -> None:
    """Adds a product's column to `_own`; half a team has one of its limbs."""
    N = plan.size
    re, im = lanes.adjoint(*sums)
    re, im = transform.exchange(re), transform.exchange(im)
    re, im = transform.backward_constant(re, im, machine.fma)
    # A half of a team gets one part of both limbs; imaginary parts are negated.
    high, low = _swap(plan, machine.round(re), -machine.round(im))
    at, old = own
    new = old + (high << layout.LOW) + low * int(1 / layout.UNIT)
    triton.store(refs.state.at[at + N], new)
    triton.store(refs.state.at[at], -new)


def _complex(x: jax.Array) -> tuple[Pair, Pair]:
    """`[T, l, 4]` as two complex `[l, T]`."""
    T, l, _ = x.shape  # noqa: E741
    first, second = transform.split(x.transpose(1, 0, 2).reshape(l, T, 2, 2), 2)
    return transform.split(first, 2), transform.split(second, 2)


def _swap(plan: Plan, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of `[rows, T]`: the first half of a team gets a from both halves, the other b."""
    rows, T = a.shape
    x = jnp.stack([a, b], axis=-1).reshape(rows, -1, 2, plan.radix, 2)
    return transform.split(x.transpose(0, 1, 4, 3, 2).reshape(rows, T, 2), 2)


# Between the transforms lanes share the frequencies out, for all that the program's
# teams have transformed: a key value serves each ciphertext.


def _share(plan: Plan, x: jax.Array) -> list[jax.Array]:
    """From a team's polynomials at all frequencies, `[r, T]`, to all at some.

    Returns:
        float32 `[r / (2 * at_once), T]` for each ciphertext, team and half of it.
    """
    r, number = plan.radix, plan.at_once
    x = x.reshape(number, 2, -1, number, 2, r).transpose(3, 4, 2, 0, 1, 5)
    return transform.unmerge(x.reshape(2 * number, -1, plan.lanes))


def _collect(plan: Plan, sums: list[Pair]) -> Pair:
    """The way back, from sums for each ciphertext, team and limb."""
    r, number = plan.radix, plan.at_once
    found = []
    for parts in zip(*sums, strict=True):
        # Ciphertext and team, limb, frequency; a lane's share, its halves, place.
        x = transform.merge([part[None] for part in parts])
        x = x.reshape(number, 2, -1, number, 2, r).transpose(3, 4, 2, 0, 1, 5)
        found.append(x.reshape(r, plan.lanes))
    return found[0], found[1]


def _entries(plan: Plan, lanes: _Lanes) -> jax.Array:
    """Places in the key of a lane's frequencies, in fours: `[T, count, 4]`."""
    stride = 8 * plan.columns * plan.radix
    count = plan.radix // (2 * plan.at_once)
    upper = ((lanes.member * plan.teams + lanes.team) * 2 + lanes.half) * count
    place = (upper * stride + lanes.place * 4)[:, None, None]
    return place + _along(count, stride, 1, 3) + _along(4, 1, 2, 3)


def _start(plan: Plan, step: jax.Array, pair: Any) -> jax.Array:
    """Where the key's part for a pair of rows starts."""
    return (step * plan.pairs + pair) * (8 * plan.columns * plan.radix**2)


def _key(plan: Plan, refs: Refs, at: jax.Array) -> Iterator[list[tuple[Pair, Pair]]]:
    """Column by column, of each of its limbs the key's values for two rows.

    A column is loaded when it is asked for.
    """
    for column in range(plan.columns):
        limbs = at + column * (8 * plan.radix)
        high, low = (
            _complex(triton.load(refs.key.at[limbs + limb * (4 * plan.radix)]))
            for limb in range(2)
        )
        yield [high, low]


def _touch(plan: Plan, refs: Refs, lanes: _Lanes, start: jax.Array) -> jax.Array:
    """Brings the key's values for a pair of rows near, long before they are used.

    A lane takes one number of every sector of 32 bytes that is its own.

    Args:
      plan: sizes.
      refs: the kernel's arrays.
      lanes: who they are.
      start: where the pair's part of the key starts.

    Returns:
        int32 `[T]`, zero, which the compiler does not know; to be used later.
    """
    T, sectors = plan.lanes, plan.columns * plan.radix**2
    found = jnp.zeros(T, jnp.int32)
    own = start + jnp.arange(T, dtype=jnp.int32) * 8 + lanes.unknown
    for number in range(sectors // T):
        values = triton.load(refs.key.at[own + number * (8 * T)])
        found = found | lax.bitcast_convert_type(values, jnp.int32)
    return found & lanes.unknown


def _add_rows(machine: Machine, sums: Any, rows: Any, key: Any) -> list[Pair]:
    """For each limb, sums with two rows' products added."""
    found = []
    for (re, im), entries in zip(sums, key, strict=False):
        for (ar, ai), (br, bi) in zip(rows, entries, strict=True):
            fma = machine.fma
            re, im = (
                fma(ai, bi, fma(ar, br, re), "c - ab"),
                fma(ai, br, fma(ar, bi, im)),
            )
        found.append((re, im))
    return found


def _nothing(plan: Plan, columns: int) -> tuple[Pair, ...]:
    """Sums of zero, for each column, ciphertext and limb."""
    shape = plan.radix // (2 * plan.at_once), plan.lanes
    zero = jnp.zeros(shape, jnp.float32)
    return ((zero, zero),) * (2 * plan.group * columns)


def _add_pair(
    machine: Machine,
    sums: tuple[Pair, ...],
    rows: list[list[Pair]],
    key: Iterable[list[tuple[Pair, Pair]]],
) -> tuple[Pair, ...]:
    """Sums with a pair of rows, of each ciphertext, times its part of the key."""
    found: list[Pair] = []
    for limbs in key:
        for both in rows:
            found += _add_rows(machine, sums[len(found) :], both, limbs)
    return *found, *sums[len(found) :]


def _alone(
    plan: Plan,
    machine: Machine,
    refs: Refs,
    lanes: _Lanes,
    step: jax.Array,
    turn: _Turn | None,
    sums: tuple[Pair, ...],
) -> tuple[Pair, ...]:
    """A step of a team for itself, from sums that are zero to zeros.

    Here and in `_together`, `step` is that of the key.
    """
    entry = _entries(plan, lanes)

    def add_pair(pair: jax.Array, carry: Any) -> Any:
        sums, touched = carry
        start = _start(plan, step, pair)
        touched = touched | _touch(plan, refs, lanes, start)
        fields = _digit_fields(plan, refs, lanes, pair)
        digits = _find_digits(plan, refs, lanes, turn, fields)
        re, im = _transform(plan, machine, lanes, digits)
        spectra = list(zip(_share(plan, re), _share(plan, im), strict=True))
        rows = [spectra[2 * g : 2 * g + 2] for g in range(plan.group)]
        key = _key(plan, refs, entry + start)
        return _add_pair(machine, sums, rows, key), touched

    def add_column(column: jax.Array, sums: tuple[Pair, ...]) -> tuple[Pair, ...]:
        now, later = sums[: 2 * plan.group], sums[2 * plan.group :]
        found = _collect(plan, list(now))
        at, old = _own(plan, refs, lanes, column)
        own = at, old + touched[None, :]
        _transform_column(plan, machine, refs, lanes, own, found)
        return *later, *_nothing(plan, 1)

    none = jnp.zeros(plan.lanes, jnp.int32)
    sums, touched = lax.fori_loop(0, plan.pairs, add_pair, (sums, none))
    machine.barrier()  # all have read the accumulators
    return lax.fori_loop(0, plan.columns, add_column, sums)


def _together(
    plan: Plan,
    machine: Machine,
    refs: Refs,
    lanes: _Lanes,
    step: jax.Array,
    following: jax.Array | None,
    turn: _Turn | None,
    fields: list[tuple[jax.Array, ...]],
) -> None:
    """A step of several teams, each with some pairs of rows and some columns.

    What needs memory is asked for at first, as far as there are registers: one wait
    does for all. Loads come back in their order, so that the part of the key for the
    `following` step is brought near when nothing is waited for.
    """
    W, G = plan.teams, plan.group
    entry = _entries(plan, lanes)

    digits = [_find_digits(plan, refs, lanes, turn, some) for some in fields]
    slots = [lanes.team + first for first in range(0, plan.column_slots, W)]
    owns = [_own(plan, refs, lanes, slot) for slot in slots]
    keys: list[Iterable] = [
        _key(plan, refs, entry + _start(plan, step, pair)) for pair in range(plan.pairs)
    ]
    keys[0] = list(keys[0])

    sums = _nothing(plan, plan.column_slots)
    for number, some in enumerate(digits):
        re, im = _transform(plan, machine, lanes, some)
        spectra = list(zip(_share(plan, re), _share(plan, im), strict=True))
        for w in range(min(W, plan.pairs - number * W)):
            rows = [spectra[2 * (g * W + w) :][:2] for g in range(G)]
            sums = _add_pair(machine, sums, rows, keys[number * W + w])

    machine.barrier()  # all have read the accumulators
    touched = jnp.zeros(plan.lanes, jnp.int32)
    for first, (at, old) in zip(range(0, plan.column_slots, W), owns, strict=True):
        now = [
            sums[((first + w) * G + g) * 2 + limb]
            for g in range(G)
            for w in range(W)
            for limb in range(2)
        ]
        found = _collect(plan, now)
        if following is not None and not first:
            for pair in range(plan.pairs):
                start = _start(plan, following, pair)
                touched = touched | _touch(plan, refs, lanes, start)
        own = at, old + touched[None, :]
        _transform_column(plan, machine, refs, lanes, own, found)


def run(plan: Plan, machine: Machine, *arrays: Any) -> None:
    """All steps for the ciphertexts of a program."""
    refs = Refs(*arrays)
    lanes = _lanes(plan, machine, refs)
    N, T = plan.size, plan.lanes
    batch = refs.amounts.shape[0] // plan.steps

    def amount_of(i: jax.Array) -> jax.Array:
        return triton.load(refs.amounts.at[i * batch + lanes.ciphertext])

    def turn_by(amount: jax.Array) -> _Turn:
        return _Turn(
            lanes.accumulator + (N - (amount & (N - 1))),
            -lax.shift_right_logical(
                amount, jnp.full(T, N.bit_length() - 1, jnp.int32)
            ),
        )

    fields = []
    if plan.teams > 1:
        for first in range(0, plan.pairs, plan.teams):
            pair = jnp.minimum(lanes.team + first, plan.pairs - 1)
            fields.append(_digit_fields(plan, refs, lanes, pair))

    def one_step(i: jax.Array, carry: Any) -> Any:
        amount, sums = carry
        step, following, turn = i, None, None
        if plan.bundled:
            step = i * batch + lanes.first
        else:
            turn = turn_by(amount)
            following = jnp.minimum(i + 1, plan.steps - 1)
            amount = amount_of(following)
        if plan.teams == 1:
            sums = _alone(plan, machine, refs, lanes, step, turn, sums)
        else:
            _together(plan, machine, refs, lanes, step, following, turn, fields)
        machine.barrier()  # all have written the accumulators
        return amount, sums

    sums = _nothing(plan, plan.columns if plan.teams == 1 else 0)
    amount = None if plan.bundled else amount_of(jnp.int32(0))
    lax.fori_loop(0, plan.steps, one_step, (amount, sums))
