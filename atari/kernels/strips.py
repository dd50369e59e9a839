"""Drawing for a console that has a warp of its own.

Its beam passes whole lines, or what of a line lies between two writes, and leaves each
such strip to a lane. When every lane has one, they draw together.
"""

from typing import Any, NamedTuple

from jax import lax, numpy as jnp

from atari import beam
from atari.bits import Bool, Guard, Int
from atari.tia import WIDTH, Tia

LANES = 32


class Strips(NamedTuple):
    """What lanes are to draw."""

    fields: tuple[Int, ...]  # `beam.DRAWN` of each strip, int32[LANES]
    end: Int  # clock of the line, int32[LANES]
    number: Int  # of them, int32[1]
    cleared: Int  # those before this one collide no more, int32[1]


def none(zero: Int) -> Strips:
    """No strips, given a zero, int32[1]."""
    lanes = jnp.broadcast_to(zero, LANES)
    return Strips((lanes,) * len(beam.DRAWN), lanes, zero, zero)


def keep(strips: Strips, line: Tia, end: Int) -> Strips:
    """Gives a lane what `beam.move` passed, if there are pixels in it."""
    has = (end > beam.BLANK) & (end > line.clock)

    def kept() -> tuple[tuple[Int, ...], Int]:
        lane = jnp.arange(LANES, dtype=jnp.int32) == strips.number
        new = [getattr(line, name) for name in beam.DRAWN]
        fields = tuple(map(lambda a, b: jnp.where(lane, a, b), new, strips.fields))
        return fields, jnp.where(lane, end, strips.end)

    fields, ends = lax.cond(
        jnp.where(has, 1, 0).max() > 0, kept, lambda: (strips.fields, strips.end)
    )
    count = strips.number + jnp.where(has, 1, 0)
    return strips._replace(fields=fields, end=ends, number=count)


def draw(strips: Strips, screen: Any, guard: Guard) -> Int:
    """Draws all, on a `memory.ByteScreen` or None; their collisions, int32[1]."""
    lane = jnp.arange(LANES, dtype=jnp.int32)
    nothing: Any = None
    line = Tia(*[nothing] * len(Tia._fields))
    line = line._replace(**dict(zip(beam.DRAWN, strips.fields, strict=True)))
    end = jnp.where(lane < strips.number, strips.end, line.clock)

    def window(number: Int, found: Int) -> Int:
        x = jnp.full(LANES, number * beam.WINDOW, jnp.int32)
        pixels, more = beam.draw(line, end, x, guard)
        if screen is not None:
            screen.put(pixels)
        return found | more

    found = lax.fori_loop(0, WIDTH // beam.WINDOW, window, lane * 0)
    found = jnp.where(lane >= strips.cleared, found, 0)
    # There is no reduction by "or".
    pairs = strips.number * 0
    for bit in range(16):
        hit = jnp.broadcast_to(((found >> bit) & 1).max(), pairs.shape)
        pairs |= hit << bit
    return pairs


def full(strips: Strips) -> Bool:
    """Whether every lane has a strip."""
    return strips.number.max() >= LANES
