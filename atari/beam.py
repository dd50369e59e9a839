"""The TIA's beam: it follows the CPU, draws pixels and latches collisions.

`advance` moves it over one window of up to 32 pixels. Objects are bit masks of the
window (bit i is pixel i), so a window's pixels and all fifteen collisions take a few
word operations, elementwise for consoles in lock-step.
"""

from typing import NamedTuple

from jax import numpy as jnp

from atari.bits import (
    Bool,
    Guard,
    Int,
    Word,
    always,
    pick,
    reverse8,
    spread2,
    spread4,
)
from atari.tia import BLANK, LINE, WIDTH, Tia

WINDOW = 32
WORDS = WIDTH // 4
"""Words of four pixels in a row."""


class Pixels(NamedTuple):
    """A window of 32 pixels on its way to the frame buffer."""

    row: Int
    column: Int  # of the first pixel, a multiple of 32
    valid: Word  # pixels that the beam passed
    comb: Bool  # the first eight are black
    player0: Word  # who owns the pixel; no owner is background
    player1: Word
    playfield: Word
    colours: tuple[Int, ...]  # background, playfield, player 0, player 1


def _place(shape: Word, position: Int, column: Int) -> Word:
    """Bits of a shape of up to 32 pixels at `position` that fall in the window."""
    ahead = column - jnp.where(position >= WIDTH, position - WIDTH, position)
    ahead = jnp.where(ahead < 0, ahead + WIDTH, ahead)
    behind = WIDTH - ahead
    tail = shape >> jnp.minimum(ahead, 31).astype(jnp.uint32)
    head = shape << jnp.minimum(behind, 31).astype(jnp.uint32)
    none = jnp.uint32(0)
    return jnp.where(ahead < 32, tail, none) | jnp.where(behind < 32, head, none)


def _copies(
    shape: Word, position: Int, nusiz: Int, first: Bool, column: Int, guard: Guard
) -> Word:
    """A player or missile with the copies that NUSIZ asks for."""
    mode = nusiz & 7
    none = jnp.uint32(0)
    # Second copy at 16, 32 or 64 pixels; third at twice the distance.
    step = jnp.where(mode == 4, 64, jnp.where((mode == 2) | (mode == 6), 32, 16))
    second = (mode == 1) | (mode == 2) | (mode == 3) | (mode == 4) | (mode == 6)
    third = (mode == 3) | (mode == 6)
    drawn = jnp.where(first, _place(shape, position, column), none)

    def more() -> Word:
        near = jnp.where(second, _place(shape, position + step, column), none)
        return near | jnp.where(third, _place(shape, position + 2 * step, column), none)

    return drawn | guard(second, more, none)


def _player(
    grp: Int, refp: Int, nusiz: Int, position: Int, late: Int, x: Int, guard: Guard
) -> Word:
    shape = jnp.where(refp == 0, reverse8(grp), grp).astype(jnp.uint32)
    mode = nusiz & 7
    double, quad = mode == 5, mode == 7
    shape = jnp.where(quad, spread4(shape), jnp.where(double, spread2(shape), shape))
    # A stretched player comes one pixel later.
    position = position + jnp.where(double | quad, 1, 0)
    return _copies(shape, position, nusiz, late == 0, x, guard)


def _bar(size: Int) -> Word:
    """A missile or ball of 1, 2, 4 or 8 pixels."""
    width = jnp.uint32(1) << (size & 3).astype(jnp.uint32)
    return (jnp.uint32(1) << width) - jnp.uint32(1)


def _below(count: Int) -> Word:
    """The lowest `count` (0 to 32) bits set."""
    ones = jnp.uint32(0xFFFFFFFF) >> jnp.clip(32 - count, 0, 31).astype(jnp.uint32)
    return jnp.where(count > 0, ones, jnp.uint32(0))


def _objects(tia: Tia, x: Int, guard: Guard) -> tuple[tuple[Word, ...], Bool]:
    """The six objects from pixel `x`, and whether only the last of them is on.

    Players, missiles, ball, playfield.
    """
    none = jnp.uint32(0)
    grp0 = jnp.where(tia.vdelp0 != 0, tia.old_grp0, tia.grp0)
    grp1 = jnp.where(tia.vdelp1 != 0, tia.old_grp1, tia.grp1)
    p0 = guard(
        grp0 != 0,
        lambda: _player(grp0, tia.refp0, tia.nusiz0, tia.p0, tia.late0, x, guard),
        none,
    )
    p1 = guard(
        grp1 != 0,
        lambda: _player(grp1, tia.refp1, tia.nusiz1, tia.p1, tia.late1, x, guard),
        none,
    )

    every = tia.enam0 == tia.enam0
    on0 = (tia.enam0 != 0) & (tia.resmp0 == 0)
    on1 = (tia.enam1 != 0) & (tia.resmp1 == 0)
    enabl = jnp.where(tia.vdelbl != 0, tia.old_enabl, tia.enabl)

    def missiles() -> tuple[Word, Word]:
        size0 = (tia.nusiz0 >> 4) | jnp.where(tia.star_shape == 1, 1, 0)
        m0 = _copies(_bar(size0), tia.m0, tia.nusiz0, every, x, guard)
        m1 = _copies(_bar(tia.nusiz1 >> 4), tia.m1, tia.nusiz1, every, x, guard)
        m0 = jnp.where(on0 & (tia.star_shape != 2), m0, none)
        return m0, jnp.where(on1, m1, none)

    m0, m1 = guard(on0 | on1, missiles, (none, none))
    ball = guard(enabl != 0, lambda: _place(_bar(tia.ctrlpf >> 4), tia.ball, x), none)
    ball = jnp.where(enabl != 0, ball, none)

    left = tia.playfield
    right = jnp.where(tia.reflect != 0, tia.mirrored, left)
    cells = jnp.where(x == 128, right >> 12, (left | (right << 20)) >> (x >> 2))
    field = spread4((cells & 0xFF).astype(jnp.uint32))
    alone = (grp0 == 0) & (grp1 == 0) & ~on0 & ~on1 & (enabl == 0)
    return (p0, p1, m0, m1, ball, field), alone


def _pairs(objects: tuple[Word, ...]) -> Int:
    """Collision latches of one window, two bits a CX register from CXM0P up."""
    p0, p1, m0, m1, ball, field = objects
    pairs = (
        *(m0 & p1, m0 & p0, m1 & p0, m1 & p1, p0 & field, p0 & ball, p1 & field),
        *(p1 & ball, m0 & field, m0 & ball, m1 & field, m1 & ball, ball & field),
        *(None, p0 & p1, m0 & m1),
    )
    found = jnp.where(p0 != p0, 1, 0)
    for bit, pair in enumerate(pairs):
        if pair is not None:
            found |= jnp.where(pair != 0, 1 << bit, 0)
    return found


def _start_line(tia: Tia, where: Bool, guard: Guard) -> Tia:
    """What the end of a line latches."""
    star = where & (tia.star != 0)

    def drifted() -> tuple[Int, Int, Int]:
        line = (tia.star_line + 1) & 3
        drift = pick(line, (18, 33, 0, 17))
        m0 = jnp.where(tia.m0 < drift, tia.m0 - drift + WIDTH, tia.m0 - drift)
        return line, jnp.where(line == 1, 1, jnp.where(line == 2, 2, 0)), m0

    kept = (tia.star_line, tia.star_shape, tia.m0)
    line, shape, m0 = guard(star, drifted, kept, rare=True)
    return tia._replace(
        clock=jnp.where(where, 0, tia.clock),
        row=jnp.where(where, tia.row + 1, tia.row),
        reflect=jnp.where(where, tia.ctrlpf & 1, tia.reflect),
        late0=jnp.where(where, 0, tia.late0),
        late1=jnp.where(where, 0, tia.late1),
        star_line=jnp.where(star, line, tia.star_line),
        star_shape=jnp.where(star, shape, tia.star_shape),
        m0=jnp.where(star, m0, tia.m0),
    )


def behind(tia: Tia, first_line: Int, lines: Int, clock: Int) -> Bool:
    """Whether pixels before `clock` are still to be drawn."""
    start = tia.frame_start + first_line * LINE
    at = tia.frame_start + (tia.origin + tia.row) * LINE + tia.clock
    stop = start + lines * LINE
    return (clock >= start) & (jnp.minimum(clock, stop) > at)


def advance(
    tia: Tia, first_line: Int, lines: Int, target: Int, guard: Guard = always
) -> tuple[Tia, Pixels, Bool]:
    """Moves the beam towards the clock `target`, at most to the end of its window.

    Lines outside the picture, of which `first_line` and `lines` tell, take no time and
    latch no collisions.

    Returns:
      The TIA, the pixels passed, and whether the beam is there.
    """
    start = tia.frame_start + first_line * LINE
    stop = start + lines * LINE
    at = tia.frame_start + (tia.origin + tia.row) * LINE + tia.clock
    left = jnp.minimum(target, stop) - at
    moves = (left > 0) & (target >= start)
    left = jnp.where(moves, left, 0)
    # A line ends when the beam leaves it, not when it comes to the edge.
    tia = _start_line(tia, moves & (tia.clock == LINE), guard)
    x = jnp.maximum(tia.clock - BLANK, 0) & -WINDOW
    end = jnp.minimum(tia.clock + left, BLANK + WINDOW + x)

    before = _below(tia.clock - BLANK - x)
    valid = _below(end - BLANK - x) & ~before
    visible = (tia.vblank & 2) == 0
    none, ones = jnp.uint32(0), jnp.uint32(0xFFFFFFFF)
    lit = jnp.where(visible, valid, none)
    line = tia

    def draw() -> tuple[Word, Word, Word, Int]:
        objects, alone = _objects(line, x, guard)
        p0, p1, m0, m1, ball, field = objects
        found = _pairs(tuple(part & lit for part in objects))
        flags = line.ctrlpf & 6
        score = (flags == 2) | ((flags == 6) & alone)
        over = (flags >= 4) & ~score  # playfield and ball before the players
        right = jnp.where(x == 64, jnp.uint32(0xFFFF), none)
        left_half = jnp.where(x < 64, ones, right)
        front = jnp.where(over, ball | field, none)
        scored = jnp.where(score, field, none)
        player0 = (p0 | m0 | (scored & left_half)) & ~front
        player1 = (p1 | m1 | (scored & ~left_half)) & ~front & ~player0
        return player0, player1, (ball | field) & ~player0 & ~player1, found

    player0, player1, playfield, found = guard(lit != 0, draw, (none, none, none, 0))
    colours = (tia.colubk, tia.colupf, tia.colup0, tia.colup1)
    pixels = Pixels(
        row=tia.row,
        column=x,
        valid=valid,
        comb=(tia.comb != 0) & (x == 0),
        player0=player0,
        player1=player1,
        playfield=playfield,
        colours=tuple(jnp.where(visible, colour, 0) for colour in colours),
    )
    passed = (tia.clock < BLANK + 8) & (end >= BLANK + 8)
    there = left - (end - tia.clock) <= 0
    tia = tia._replace(
        collisions=tia.collisions | found,
        comb=jnp.where(passed, 0, tia.comb),
        clock=end,
    )
    return tia, pixels, there


def _bytes(mask: Word, word: Int | int) -> Int:
    """Bits 4 `word` to 4 `word` + 3 of a mask, each as a byte of ones or zeros."""
    shift = 4 * word if isinstance(word, int) else (4 * word).astype(mask.dtype)
    nibble = (mask >> shift) & 15
    return (((nibble * 0x204081) & 0x01010101) * 255).astype(jnp.int32)


def paint(pixels: Pixels, word: Int | int, old: Int) -> Int:
    """Four pixels of a window over what the buffer held before.

    Args:
      pixels: the window.
      word: which four of its pixels, 0 to 7.
      old: their palette indices, int32, the leftmost in the lowest byte.
    """
    background, playfield, player0, player1 = (
        colour * 0x01010101 for colour in pixels.colours
    )
    owns = _bytes(pixels.playfield, word)
    colour = (playfield & owns) | (background & ~owns)
    owns = _bytes(pixels.player1, word)
    colour = (player1 & owns) | (colour & ~owns)
    owns = _bytes(pixels.player0, word)
    colour = (player0 & owns) | (colour & ~owns)
    colour = jnp.where(pixels.comb & (word < 2), 0, colour)
    valid = _bytes(pixels.valid, word)
    return (colour & valid) | (old & ~valid)
