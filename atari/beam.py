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
    spread2,
    spread4,
)
from atari.tia import BLANK, LINE, WIDTH, Tia

WINDOW = 32
WORDS = WIDTH // 4
"""Words of four pixels in a row."""


DRAWN = (
    *("vblank", "nusiz0", "nusiz1", "colup0", "colup1", "colupf", "colubk", "ctrlpf"),
    *("refp0", "refp1", "playfield", "mirrored", "grp0", "grp1", "old_grp0"),
    *("old_grp1", "enam0", "enam1", "enabl", "old_enabl", "vdelp0", "vdelp1"),
    *("vdelbl", "resmp0", "resmp1", "p0", "p1", "m0", "m1", "ball", "late0", "late1"),
    *("reflect", "comb", "star_shape", "row", "clock"),
)
"""What of a TIA shows in the pixels of a line, and where they are."""


_KINDS = 0b1011100_10100000
"""Eight bits for NUSIZ's modes with stretched players, above them those with copies."""


class Pixels(NamedTuple):
    """A window of 32 pixels on its way to the frame buffer."""

    row: Int
    column: Int  # of the first pixel, a multiple of 32
    stop: Int  # the pixel after the last that the beam passed, 0 to 32
    valid: Word  # pixels that the beam passed
    comb: Bool  # the first eight are black
    players: Word  # pixels of a player's colour, not of background or playfield
    first: Word  # among those, player 0's; among the others, the playfield's
    colours: tuple[Int, ...]  # background, playfield, player 0, player 1


def _place(shape: Word, position: Int, column: Int) -> Word:
    """Bits of a shape of up to 32 pixels at a `position` below 288, in the window."""
    offset = position - column
    # What leaves the line at its right comes in at its left.
    offset = jnp.where(offset >= WINDOW, offset - WIDTH, offset)
    far = jnp.abs(offset)
    by = jnp.minimum(far, 31).astype(jnp.uint32)
    moved = jnp.where(offset < 0, shape >> by, shape << by)
    return jnp.where(far < WINDOW, moved, jnp.uint32(0))


class _Copies(NamedTuple):
    """What NUSIZ asks for: a copy at 16, 32 or 64 pixels, and a third at twice that."""

    close: Bool  # the second at 16 pixels
    far: Bool  # copies farther than that
    step: Int  # of the first of those
    last: Bool  # one more, at 64 pixels


def _copies(nusiz: Int) -> _Copies:
    mode = nusiz & 7
    wide = mode == 4
    last = mode == 6
    three = mode == 3
    return _Copies(
        (mode == 1) | three,
        (mode == 2) | three | wide | last,
        jnp.where(wide, 64, 32),
        last,
    )


def _near(shape: Word, copies: _Copies, first: Bool) -> Word:
    """A player or missile with its close copy, at most 24 pixels wide."""
    none = jnp.uint32(0)
    return jnp.where(first, shape, none) | jnp.where(copies.close, shape << 16, none)


def _far(shape: Word, position: Int, copies: _Copies, column: Int) -> Word:
    """The copies that do not fit in one word with the first."""
    none = jnp.uint32(0)
    last = jnp.where(copies.last, _place(shape, position + 64, column), none)
    drawn = _place(shape, position + copies.step, column)
    return jnp.where(copies.far, drawn, none) | last


def _stretched(shape: Word, nusiz: Int) -> Word:
    """A player of double or fourfold width."""
    mode = nusiz & 7
    double = jnp.where(mode == 5, spread2(shape), shape)
    return jnp.where(mode == 7, spread4(shape), double)


def _is_stretched(nusiz: Int) -> Bool:
    return (nusiz & 5) == 5


def _bar(size: Int) -> Word:
    """A missile or ball of 1, 2, 4 or 8 pixels."""
    width = jnp.uint32(1) << (size & 3).astype(jnp.uint32)
    return (jnp.uint32(1) << width) - jnp.uint32(1)


def _below(count: Int) -> Word:
    """The lowest `count` (0 to 32) bits set."""
    ones = jnp.uint32(0xFFFFFFFF) >> jnp.minimum(32 - count, 31).astype(jnp.uint32)
    return jnp.where(count > 0, ones, jnp.uint32(0))


def _ball(tia: Tia) -> Bool:
    return jnp.where(tia.vdelbl != 0, tia.old_enabl, tia.enabl) != 0


def portents(tia: Tia) -> dict[str, Bool]:
    """Whether the next window may want a guard's rare work, of some names."""
    players = (_KINDS >> (tia.nusiz0 & 7)) | (_KINDS >> (tia.nusiz1 & 7))
    missiles = (tia.enam0 & ~tia.resmp0) | (tia.enam1 & ~tia.resmp1)
    return {
        "shapes": ((players & 1) != 0) | (tia.star != 0),
        "missiles": missiles != 0,
        "copies": (players & 0x100) != 0,
        "ball": _ball(tia),
    }


def _objects(tia: Tia, x: Int, guard: Guard) -> tuple[tuple[Word, ...], Bool]:
    """The six objects from pixel `x`, and whether only the last of them is on.

    Players, missiles, ball, playfield.
    """
    none = jnp.uint32(0)
    grp0 = jnp.where(tia.vdelp0 != 0, tia.old_grp0, tia.grp0)
    grp1 = jnp.where(tia.vdelp1 != 0, tia.old_grp1, tia.grp1)
    nusiz = (tia.nusiz0, tia.nusiz1)
    late = (tia.late0 == 0, tia.late1 == 0)
    shapes = [
        jnp.where(refp == 0, grp >> 8, grp & 0xFF).astype(jnp.uint32)
        for grp, refp in ((grp0, tia.refp0), (grp1, tia.refp1))
    ]
    wide = [_is_stretched(size) for size in nusiz]
    shapes = guard(
        wide[0] | wide[1],
        lambda: list(map(_stretched, shapes, nusiz)),
        shapes,
        rare="shapes",
    )
    # A stretched player comes one pixel later.
    places = [
        position + jnp.where(one, 1, 0)
        for position, one in zip((tia.p0, tia.p1), wide, strict=True)
    ]
    copies = [_copies(size) for size in nusiz]
    p0, p1 = (
        _place(_near(*player), position, x)
        for player, position in zip(
            zip(shapes, copies, late, strict=True), places, strict=True
        )
    )

    on0 = (tia.enam0 != 0) & (tia.resmp0 == 0)
    on1 = (tia.enam1 != 0) & (tia.resmp1 == 0)
    on_ball = _ball(tia)
    size0 = (tia.nusiz0 >> 4) | jnp.where(tia.star_shape == 1, 1, 0)
    bar0 = jnp.where(on0 & (tia.star_shape != 2), _bar(size0), none)
    bar1 = jnp.where(on1, _bar(tia.nusiz1 >> 4), none)
    every = tia.enam0 == tia.enam0

    def missiles() -> tuple[Word, Word]:
        return (
            _place(_near(bar0, copies[0], every), tia.m0, x),
            _place(_near(bar1, copies[1], every), tia.m1, x),
        )

    m0, m1 = guard(on0 | on1, missiles, (none, none), rare="missiles")

    def far() -> tuple[Word, ...]:
        return (
            _far(shapes[0], places[0], copies[0], x),
            _far(shapes[1], places[1], copies[1], x),
            _far(bar0, tia.m0, copies[0], x),
            _far(bar1, tia.m1, copies[1], x),
        )

    copied = guard(copies[0].far | copies[1].far, far, (none,) * 4, rare="copies")
    p0, p1, m0, m1 = (
        one | more for one, more in zip((p0, p1, m0, m1), copied, strict=True)
    )
    ball = guard(
        on_ball,
        lambda: _place(_bar(tia.ctrlpf >> 4), tia.ball, x),
        none,
        rare="ball",
    )
    ball = jnp.where(on_ball, ball, none)

    left = tia.playfield
    right = jnp.where(tia.reflect != 0, tia.mirrored, left)
    cells = jnp.where(x == 128, right >> 12, (left | (right << 20)) >> (x >> 2))
    field = spread4((cells & 0xFF).astype(jnp.uint32))
    alone = (grp0 == 0) & (grp1 == 0) & ~on0 & ~on1 & ~on_ball
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
    line, shape, m0 = guard(star, drifted, kept, rare="shapes")
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


def move(
    tia: Tia,
    first_line: Int,
    lines: Int,
    target: Int,
    guard: Guard = always,
    reach: int = WINDOW,
) -> tuple[Tia, Int, Tia, Bool]:
    """Moves the beam towards the clock `target`, without a look at what it passes.

    It comes to the end of its window of `reach` pixels at most. Lines outside the
    picture, of which `first_line` and `lines` tell, take no time.

    Returns:
      The TIA of the line that was passed, with the clock from which, the clock to which
      it was passed, the TIA after it, and whether the beam is there.
    """
    start = tia.frame_start + first_line * LINE
    stop = start + lines * LINE
    at = tia.frame_start + (tia.origin + tia.row) * LINE + tia.clock
    left = jnp.minimum(target, stop) - at
    moves = (left > 0) & (target >= start)
    left = jnp.where(moves, left, 0)
    # A line ends when the beam leaves it, not when it comes to the edge.
    line = _start_line(tia, moves & (tia.clock == LINE), guard)
    window = 0 if reach == WIDTH else column(line.clock)
    end = jnp.minimum(line.clock + left, BLANK + reach + window)
    passed = (line.clock < BLANK + 8) & (end >= BLANK + 8)
    after = line._replace(comb=jnp.where(passed, 0, line.comb), clock=end)
    return line, end, after, left - (end - line.clock) <= 0


def column(clock: Int) -> Int:
    """First pixel of the window that a clock of the line is in."""
    return jnp.maximum(clock - BLANK, 0) & -WINDOW


def draw(line: Tia, end: Int, x: Int, guard: Guard = always) -> tuple[Pixels, Int]:
    """What of a window the beam passed between the clocks `line.clock` and `end`.

    Args:
      line: from `move`; of it the fields `DRAWN`.
      end: from `move`.
      x: first pixel of the window.
      guard: see `bits.Guard`.

    Returns:
      The pixels, and the collisions.
    """
    start, stop = (jnp.clip(at - BLANK - x, 0, WINDOW) for at in (line.clock, end))
    valid = _below(stop) & ~_below(start)
    visible = (line.vblank & 2) == 0
    none, ones = jnp.uint32(0), jnp.uint32(0xFFFFFFFF)
    lit = jnp.where(visible, valid, none)

    def drawn() -> tuple[Word, Word, Int]:
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
        players = player0 | player1
        return players, player0 | ((ball | field) & ~players), found

    players, first, found = guard(lit != 0, drawn, (none, none, 0), rare="lit")
    colours = (line.colubk, line.colupf, line.colup0, line.colup1)
    pixels = Pixels(
        row=line.row,
        column=x,
        stop=stop,
        valid=valid,
        comb=(line.comb != 0) & (x == 0),
        players=players,
        first=first,
        colours=tuple(jnp.where(visible, colour, 0) for colour in colours),
    )
    return pixels, found


def advance(
    tia: Tia, first_line: Int, lines: Int, target: Int, guard: Guard = always
) -> tuple[Tia, Pixels, Bool]:
    """Moves the beam towards the clock `target`, at most to the end of its window.

    Lines outside the picture, of which `first_line` and `lines` tell, take no time and
    latch no collisions.

    Returns:
      The TIA, the pixels passed, and whether the beam is there.
    """
    line, end, after, there = move(tia, first_line, lines, target, guard)
    pixels, found = draw(line, end, column(line.clock), guard)
    return after._replace(collisions=after.collisions | found), pixels, there


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
    first, players = _bytes(pixels.first, word), _bytes(pixels.players, word)
    player = (player0 & first) | (player1 & ~first)
    other = (playfield & first) | (background & ~first)
    colour = (player & players) | (other & ~players)
    colour = jnp.where(pixels.comb & (word < 2), 0, colour)
    valid = _bytes(pixels.valid, word)
    return (colour & valid) | (old & ~valid)


def colour(colours: tuple[Int, ...], player: Bool, first: Bool, dark: Bool) -> Int:
    """The palette index of one pixel.

    Args:
      colours: of `Pixels`.
      player: its bit of `players`.
      first: its bit of `first`.
      dark: whether it is blanked.
    """
    background, playfield, player0, player1 = colours
    other = jnp.where(first, playfield, background)
    shown = jnp.where(player, jnp.where(first, player0, player1), other)
    return jnp.where(dark, 0, shown)
