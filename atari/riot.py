"""The RIOT (MOS 6532): interval timer and the two ports; its RAM is the console's.

Elementwise on int32, like the other chips. Cycles are those since the frame began, so
`rebase` moves the marks when a new frame sets the count to zero.
"""

from typing import NamedTuple

from jax import numpy as jnp

from atari.bits import Bool, Int


class Riot(NamedTuple):
    """Timer and port direction; every field is int32[]."""

    timer: Int
    shift: Int  # log2 of the prescaler
    set_at: Int  # cycle
    seen: Int  # whether the timer was read after it had run out
    seen_at: Int  # cycle
    ddra: Int


def reset(timer: Int) -> Riot:
    """A RIOT whose timer stands at a random value, as it does at power on."""
    zero = timer * 0
    return Riot(timer, zero + 6, zero, zero, zero, zero)


def rebase(riot: Riot, cycles: Int) -> Riot:
    """Counts cycles from `cycles` on."""
    return riot._replace(set_at=riot.set_at - cycles, seen_at=riot.seen_at - cycles)


def read(
    riot: Riot, address: Int, cycles: Int, swcha: Int, swchb: Int, where: Bool
) -> tuple[Int, Riot]:
    """Value of a register, and the RIOT after the read (only if `where`)."""
    register = address & 7
    passed = cycles - 1 - riot.set_at
    left = riot.timer - (passed >> riot.shift) - 1
    over = left < 0
    # Past zero the timer counts single cycles, from the first read on.
    beyond = (riot.timer << riot.shift) - passed - 1
    intim = (register & 5) == 4
    first = where & intim & over & (beyond <= -2) & (riot.seen == 0)
    seen = jnp.where(first, 1, riot.seen)
    seen_at = jnp.where(first, cycles, riot.seen_at)
    offset = seen_at - (riot.set_at + (riot.timer << riot.shift))
    late = jnp.where(seen != 0, left + 1 - offset, beyond)
    value = jnp.where(intim, jnp.where(over, late, left) & 0xFF, 0)
    flag = jnp.where(over & (riot.seen == 0), 0x80, 0)
    value = jnp.where((register & 5) == 5, flag, value)
    value = jnp.where(register == 0, swcha, value)
    value = jnp.where(register == 1, riot.ddra, value)
    value = jnp.where(register == 2, swchb, value)
    return value, riot._replace(seen=seen, seen_at=seen_at)


def write(riot: Riot, address: Int, value: Int, cycles: Int, where: Bool) -> Riot:
    """The RIOT after a write: a timer of 1, 8, 64 or 1,024 cycles a tick, or DDRA."""
    timed = where & ((address & 0x14) == 0x14)
    scale = address & 3
    # 0, 3, 6 and 10 bits.
    shift = 3 * scale + jnp.where(scale == 3, 1, 0)
    direction = where & ((address & 7) == 1)
    return Riot(
        timer=jnp.where(timed, value, riot.timer),
        shift=jnp.where(timed, shift, riot.shift),
        set_at=jnp.where(timed, cycles, riot.set_at),
        seen=jnp.where(timed, 0, riot.seen),
        seen_at=riot.seen_at,
        ddra=jnp.where(direction, value, riot.ddra),
    )
