"""The TIA: its registers, the strobes that place objects, and what its ports read.

Every function is elementwise on integers: fields are scalars, or arrays of one shape
for consoles in lock-step. Register and bit names are those of the Stella Programmer's
Guide (S. Wright, 1979). Time is in colour clocks, three a CPU cycle and 228 a line, of
which 68 are blank; `frame_start` is the clock at which line 0 of the frame began.
The picture is drawn in `atari.beam`.
"""

from typing import Any, NamedTuple

from jax import numpy as jnp

from atari.bits import (
    Bool,
    Guard,
    Int,
    always,
    pick,
    quotient,
    remainder,
    reverse8,
)

LINE = 228  # colour clocks
BLANK = 68  # of them before the first pixel
WIDTH = 160
NEVER = 0x7FFFFFFF
WAIT = 64  # not a register: a read that waits for the beam

VSYNC, VBLANK, WSYNC, NUSIZ0, NUSIZ1 = 0x00, 0x01, 0x02, 0x04, 0x05
COLUP0, COLUP1, COLUPF, COLUBK, CTRLPF = 0x06, 0x07, 0x08, 0x09, 0x0A
REFP0, REFP1, PF0, PF1, PF2 = 0x0B, 0x0C, 0x0D, 0x0E, 0x0F
RESP0, RESP1, RESM0, RESM1, RESBL = 0x10, 0x11, 0x12, 0x13, 0x14
GRP0, GRP1, ENAM0, ENAM1, ENABL = 0x1B, 0x1C, 0x1D, 0x1E, 0x1F
HMP0, HMP1, HMM0, HMM1, HMBL = 0x20, 0x21, 0x22, 0x23, 0x24
VDELP0, VDELP1, VDELBL, RESMP0, RESMP1 = 0x25, 0x26, 0x27, 0x28, 0x29
HMOVE, HMCLR, CXCLR = 0x2A, 0x2B, 0x2C


class Tia(NamedTuple):
    """Registers and beam of one TIA; every field is int32[]."""

    vblank: Int
    vsync_end: Int  # clock from which releasing VSYNC ends the frame
    dump_end: Int  # cycle at which the paddles' capacitors were let go
    collisions: Int  # two bits a CX register, CXM0P lowest
    origin: Int  # beam: line of the frame that is row 0 of the picture
    row: Int
    clock: Int  # in the line, 0 to 228
    frame_start: Int
    nusiz0: Int
    nusiz1: Int
    colup0: Int
    colup1: Int
    colupf: Int
    colubk: Int
    ctrlpf: Int
    refp0: Int
    refp1: Int
    playfield: Int  # 20 bits, bit 0 leftmost
    mirrored: Int  # the same 20 bits from right to left
    grp0: Int  # a byte, and above it the same from right to left; see `graphic`
    grp1: Int
    old_grp0: Int
    old_grp1: Int
    enam0: Int
    enam1: Int
    enabl: Int
    old_enabl: Int
    hmp0: Int
    hmp1: Int
    hmm0: Int
    hmm1: Int
    hmbl: Int
    vdelp0: Int
    vdelp1: Int
    vdelbl: Int
    resmp0: Int
    resmp1: Int
    p0: Int  # positions, 0 to 159
    p1: Int
    m0: Int
    m1: Int
    ball: Int
    late0: Int  # player's first copy is dropped until the line ends
    late1: Int
    reflect: Int  # CTRLPF.0 as the beam sees it
    hmove_at: Int  # clock of the last HMOVE
    comb: Int  # HMOVE blanks the first eight pixels of the line
    star: Int  # HMM0 rewritten in mid-motion: missile 0 moves on every line
    star_line: Int
    star_shape: Int  # 0 plain, 1 widened, 2 hidden
    lines: Int  # of the last whole frame


def reset(zero: Int) -> Tia:
    """A TIA after reset, given a zero of the fields' shape."""
    return Tia(*[zero] * len(Tia._fields))._replace(vsync_end=zero + NEVER)


def graphic(byte: Int) -> Int:
    """A player's byte with its mirror image above it, which is bit 0 leftmost."""
    return byte | (reverse8(byte) << 8)


def rebase(tia: Tia, cycles: Int) -> Tia:
    """Counts cycles from `cycles` on; the frame's own marks are for `start_frame`."""
    return tia._replace(
        vsync_end=tia.vsync_end - 3 * cycles,
        hmove_at=tia.hmove_at - 3 * cycles,
        dump_end=tia.dump_end - cycles,
    )


def start_frame(tia: Tia, cycles: Int, first_line: Int, pal: Int) -> Tia:
    """Puts the beam at the top; the count of cycles starts again from zero."""
    zero = tia.row * 0
    odd = tia.lines & 1

    def fade(colour: Int) -> Int:
        return jnp.where(pal != 0, (colour & 0xFE) | odd, colour)

    return rebase(tia, cycles)._replace(
        frame_start=-((3 * cycles - tia.frame_start) % LINE),
        origin=first_line,
        row=zero,
        clock=zero,
        colup0=fade(tia.colup0),
        colup1=fade(tia.colup1),
        colupf=fade(tia.colupf),
        colubk=fade(tia.colubk),
    )


def _mid_copy(nusiz: Int, old: Int, new: Int) -> tuple[Bool, Bool]:
    """Whether a strobe comes in the lead-in of a copy, and in a copy itself."""
    mode = nusiz & 7
    d = new - old
    d = jnp.where(d < 0, d + WIDTH, d)
    width = jnp.where(mode == 7, 32, jnp.where(mode == 5, 16, 8))
    lead = d < 4
    inside = (d >= 4) & (d < 4 + width)
    near = (mode == 1) | (mode == 3)
    middle = (mode == 2) | (mode == 3) | (mode == 6)
    far = (mode == 4) | (mode == 6)
    for copies, offset in ((near, 16), (middle, 32), (far, 64)):
        lead |= copies & (d >= offset) & (d < offset + 4)
        inside |= copies & (d >= offset + 4) & (d < offset + 12)
    return lead, inside


def _around(x: Int) -> Int:
    """A pixel less than a line beyond its end, on the line."""
    return jnp.where(x >= WIDTH, x - WIDTH, x)


def _strobe(clock: Int, frame_start: Int, lag: int) -> Int:
    """Where RESPx (lag 5) or RESMx and RESBL (lag 4) puts its object."""
    x = remainder(clock - frame_start, LINE) - BLANK
    return jnp.where(x < 0, lag - 2, _around(x + lag))


def due(tia: Tia, register: Int, clock: Int, guard: Guard = always) -> Int:
    """The clock at which a write issued at `clock` shows."""
    r = register
    # Of the cycle in the line, which has 76: a multiple of four.
    quarter = quotient(clock - tia.frame_start, 3) & 3
    delay = jnp.where((r >= PF0) & (r <= PF2), pick(quarter, (4, 5, 2, 3)), 0)
    one = (r == VBLANK) | (r == REFP0) | (r == REFP1) | (r == GRP0) | (r == GRP1)
    eight = (r == NUSIZ0) | (r == NUSIZ1) | (r == RESM0) | (r == RESM1)
    delay = jnp.where(one, 1, jnp.where(eight, 8, delay))
    # A player moved while it is drawn is drawn to its end.
    second = r == RESP1
    moved = (r == RESP0) | second

    def drawn() -> Bool:
        nusiz = jnp.where(second, tia.nusiz1, tia.nusiz0)
        old = jnp.where(second, tia.p1, tia.p0)
        _, inside = _mid_copy(nusiz, old, _strobe(clock, tia.frame_start, 5))
        return inside

    return clock + jnp.where(
        moved & guard(moved, drawn, False, rare="restarted"), 11, delay
    )


class _Motion(NamedTuple):
    """How HMOVE moves the objects, from the cycle of the line in which it comes."""

    later: Int  # pixels to the right
    least: Int
    most: Int


def _motion(cycle: Int) -> _Motion:
    # The motion clock ticks every four colour clocks: three times in four cycles.
    ticks = (3 * cycle + 1) >> 2
    early, last = cycle <= 20, cycle == 75
    late = (cycle >= 55) & ~last
    least = jnp.where(early, ticks - 9, jnp.where(late | last, -WIDTH, 0))
    most = jnp.where(early | last, WIDTH, 0)
    return _Motion(jnp.where(late, 47 - ticks, 0), least, most)


def _move(position: Int, hm: Int, motion: _Motion) -> Int:
    # HMxx counts to the left, from -8 to 7.
    right = motion.later + 8 - (hm ^ 8)
    moved = position + jnp.clip(right, motion.least, motion.most)
    return _around(jnp.where(moved < 0, moved + WIDTH, moved))


def _placed(
    tia: Tia,
    register: Int,
    clock: Int,
    moving: Bool,
    freed: tuple[Bool, Bool],
    where: Bool,
    guard: Guard,
) -> tuple[Int, ...]:
    """Where strobes, HMOVE and RESMPx leave the objects.

    Returns:
      Players, missiles, ball; and whether a player's first copy is dropped.
    """
    line_clock = remainder(clock - tia.frame_start, LINE)
    cycle, since = quotient(line_clock, 3), clock - tia.hmove_at
    player = _strobe(clock, tia.frame_start, 5)
    thing = _strobe(clock, tia.frame_start, 4)

    def at(number: int) -> Bool:
        return where & (register == number)

    def moved() -> tuple[Int, ...]:
        positions = (tia.p0, tia.p1, tia.m0, tia.m1, tia.ball)
        motions = (tia.hmp0, tia.hmp1, tia.hmm0, tia.hmm1, tia.hmbl)
        motion = _motion(cycle)
        return tuple(
            jnp.where(moving, _move(position, hm, motion), position)
            for position, hm in zip(positions, motions, strict=True)
        )

    kept = (tia.p0, tia.p1, tia.m0, tia.m1, tia.ball)
    p0, p1, m0, m1, ball = guard(moving, moved, kept)

    def special() -> tuple[Any, ...]:
        lead0, _ = _mid_copy(tia.nusiz0, tia.p0, player)
        lead1, _ = _mid_copy(tia.nusiz1, tia.p1, player)
        # Strobes soon after HMOVE, as measured for Dolphin, Pitfall II, Escape from
        # the MindMaster, Decathlon, Robot Tank and Hole Hunter.
        m0_at = jnp.where((since == 60) & (line_clock == 69), 8, thing)
        m1_at = jnp.where((since == 9) & (line_clock == 18), 3, thing)
        ball_at = jnp.where((since == 18) & (line_clock == 27), 5, thing)
        ball_at = jnp.where((since == 21) & (line_clock == 30), 6, ball_at)
        ball_at = jnp.where((since == 9) & (line_clock == 18), 3, ball_at)
        escape = (since == 54) & ((line_clock == 60) | (line_clock == 69))
        ball_at = jnp.where(escape, 10, ball_at)
        centres = []
        for nusiz, position in ((tia.nusiz0, tia.p0), (tia.nusiz1, tia.p1)):
            mode = nusiz & 7
            half = jnp.where(mode == 7, 16, jnp.where(mode == 5, 8, 4))
            centres.append(_around(position + half))
        return lead0, lead1, m0_at, m1_at, ball_at, *centres

    strobes = (at(RESM0) | at(RESM1) | at(RESBL)) & (since <= 60)
    wanted = at(RESP0) | at(RESP1) | strobes | freed[0] | freed[1]
    lead0, lead1, m0_at, m1_at, ball_at, centre0, centre1 = guard(
        wanted, special, (False, False, thing, thing, thing, m0, m1), rare="strobe"
    )
    m0 = jnp.where(at(RESM0), m0_at, m0)
    m1 = jnp.where(at(RESM1), m1_at, m1)
    return (
        jnp.where(at(RESP0), player, p0),
        jnp.where(at(RESP1), player, p1),
        jnp.where(freed[0], centre0, m0),
        jnp.where(freed[1], centre1, m1),
        jnp.where(at(RESBL), ball_at, ball),
        jnp.where(at(RESP0), jnp.where(lead0, 0, 1), jnp.where(moving, 0, tia.late0)),
        jnp.where(at(RESP1), jnp.where(lead1, 0, 1), jnp.where(moving, 0, tia.late1)),
    )


def write(
    tia: Tia,
    register: Int,
    value: Int,
    cycles: Int,
    after_read: Int,
    combs: Int,
    pal: Int,
    where: Bool,
    guard: Guard = always,
) -> tuple[Tia, Int, Bool]:
    """Writes a register, once the beam has come to `due`.

    Args:
      tia: the TIA before.
      register: 0 to 63, or `WAIT` for none.
      value: the byte written.
      cycles: the CPU's count of cycles.
      after_read: whether the bus access before was a read; only then WSYNC halts.
      combs: whether HMOVE blanks pixels in this game.
      pal: whether lines are counted, and colours lost, as for PAL.
      where: False leaves everything as it is.
      guard: see `bits.Guard`.

    Returns:
      The TIA, cycles for which the CPU is halted, and whether the frame is over.
    """
    clock = 3 * cycles
    line_clock = remainder(clock - tia.frame_start, LINE)
    cycle = quotient(line_clock, 3)

    def to(*registers: int) -> Bool:
        hit = register == registers[0]
        for other in registers[1:]:
            hit |= register == other
        return where & hit

    def put(number: int, old: Int, new: Int) -> Int:
        return jnp.where(to(number), new, old)

    # More than so many whole lines.
    late = clock - tia.frame_start >= jnp.where(pal != 0, 343, 291) * LINE
    missed = where & (register < WAIT) & late
    on, off = (value & 2) != 0, (value & 2) == 0
    released = to(VSYNC) & off & (clock >= tia.vsync_end)
    vsync_end = jnp.where(to(VSYNC) & on, clock + LINE, tia.vsync_end)
    rest = remainder(cycles + quotient(-tia.frame_start, 3), 76)
    halt = jnp.where(to(WSYNC) & (after_read != 0) & (rest > 0), 76 - rest, 0)
    let_go = to(VBLANK) & ((tia.vblank & ~value & 0x80) != 0)

    lost = jnp.where(pal != 0, tia.lines & 1, 0)
    colour = (value & 0xFE) | lost
    nibble = value >> 4

    def fields() -> tuple[Int, Int, Int]:
        # Bit 0 leftmost: PF0's high nibble as it is, PF1 reversed, PF2 as it is.
        both = graphic(value)
        backwards = both >> 8
        field = put(PF0, old.playfield, (old.playfield & ~0xF) | nibble)
        field = put(PF1, field, (field & ~0xFF0) | (backwards << 4))
        field = put(PF2, field, (field & 0xFFF) | (value << 12))
        mirror = old.mirrored
        mirror = put(PF0, mirror, (mirror & 0xFFFF) | ((backwards & 0xF) << 16))
        mirror = put(PF1, mirror, (mirror & ~0xFF00) | (value << 8))
        return field, put(PF2, mirror, (mirror & ~0xFF) | backwards), both

    old = tia
    field, mirror, shape = guard(
        to(PF0, PF1, PF2, GRP0, GRP1), fields, (tia.playfield, tia.mirrored, 0)
    )

    since = clock - tia.hmove_at
    moving = to(HMOVE)
    freed0 = to(RESMP0) & (tia.resmp0 != 0) & off
    freed1 = to(RESMP1) & (tia.resmp1 != 0) & off
    struck = to(RESP0, RESP1, RESM0, RESM1, RESBL)

    def placed() -> tuple[Int, ...]:
        return _placed(old, register, clock, moving, (freed0, freed1), where, guard)

    kept = (tia.p0, tia.p1, tia.m0, tia.m1, tia.ball, tia.late0, tia.late1)
    p0, p1, m0, m1, ball, late0, late1 = guard(
        moving | freed0 | freed1 | struck, placed, kept
    )
    blanked = moving & (combs != 0) & ((cycle <= 20) | (cycle == 75))
    stars = to(HMM0) & (since == 63) & (tia.hmm0 == 7) & (nibble == 6)
    plain = to(NUSIZ0, RESM0, HMOVE) | freed0
    cleared = to(HMCLR)

    def motion(number: int, old: Int) -> Int:
        return jnp.where(cleared, 0, put(number, old, nibble))

    tia = tia._replace(
        vblank=put(VBLANK, tia.vblank, value),
        vsync_end=jnp.where(released, NEVER, vsync_end),
        dump_end=jnp.where(let_go, cycles, tia.dump_end),
        nusiz0=put(NUSIZ0, tia.nusiz0, value),
        nusiz1=put(NUSIZ1, tia.nusiz1, value),
        colup0=put(COLUP0, tia.colup0, colour),
        colup1=put(COLUP1, tia.colup1, colour),
        colupf=put(COLUPF, tia.colupf, colour),
        colubk=put(COLUBK, tia.colubk, colour),
        ctrlpf=put(CTRLPF, tia.ctrlpf, value),
        # The right half keeps its reflection when CTRLPF comes after mid-line.
        reflect=jnp.where(
            to(CTRLPF) & (line_clock < BLANK + 79), value & 1, tia.reflect
        ),
        refp0=put(REFP0, tia.refp0, value & 8),
        refp1=put(REFP1, tia.refp1, value & 8),
        playfield=field,
        mirrored=mirror,
        grp0=put(GRP0, tia.grp0, shape),
        grp1=put(GRP1, tia.grp1, shape),
        old_grp0=put(GRP1, tia.old_grp0, tia.grp0),
        old_grp1=put(GRP0, tia.old_grp1, tia.grp1),
        enam0=put(ENAM0, tia.enam0, value & 2),
        enam1=put(ENAM1, tia.enam1, value & 2),
        enabl=put(ENABL, tia.enabl, value & 2),
        old_enabl=put(GRP1, tia.old_enabl, tia.enabl),
        hmp0=motion(HMP0, tia.hmp0),
        hmp1=motion(HMP1, tia.hmp1),
        hmm0=motion(HMM0, tia.hmm0),
        hmm1=motion(HMM1, tia.hmm1),
        hmbl=motion(HMBL, tia.hmbl),
        vdelp0=put(VDELP0, tia.vdelp0, value & 1),
        vdelp1=put(VDELP1, tia.vdelp1, value & 1),
        vdelbl=put(VDELBL, tia.vdelbl, value & 1),
        resmp0=put(RESMP0, tia.resmp0, value & 2),
        resmp1=put(RESMP1, tia.resmp1, value & 2),
        p0=p0,
        p1=p1,
        m0=m0,
        m1=m1,
        ball=ball,
        late0=jnp.where(to(NUSIZ0), 0, late0),
        late1=jnp.where(to(NUSIZ1), 0, late1),
        collisions=jnp.where(to(CXCLR), 0, tia.collisions),
        hmove_at=jnp.where(moving, clock, tia.hmove_at),
        comb=jnp.where(blanked, 1, tia.comb),
        star=jnp.where(stars, 1, jnp.where(moving, 0, tia.star)),
        star_line=jnp.where(stars, 0, tia.star_line),
        star_shape=jnp.where(plain, 0, tia.star_shape),
    )
    return tia, halt, missed | released


def read(
    tia: Tia,
    address: Int,
    noise: Int,
    cycles: Int,
    fire: tuple[Int, Int],
    resistance: tuple[Int, Int, Int, Int],
) -> Int:
    """What a read of the TIA returns; undriven bits are those left on the bus.

    Args:
      tia: the TIA, its beam at the CPU's clock.
      address: register in the low four bits.
      noise: the byte last on the bus.
      cycles: the CPU's count of cycles.
      fire: the two joystick buttons, 1 pressed.
      resistance: of the four paddles in ohms; 0 and `NEVER` read as constants.
    """
    register = address & 15
    pair = tia.collisions >> (2 * (register & 7))
    bits = ((pair & 1) << 7) | ((pair & 2) << 5)

    ohms = pick(register & 3, resistance)
    # 10 nF charge in 1.6 RC; the CPU counts 1.19 cycles a microsecond.
    charge = quotient(jnp.where(ohms == NEVER, 0, ohms) * 119, 6250)
    charge += tia.dump_end
    # An end that lies before the frame compares as unsigned: never reached.
    full = (charge >= 0) & (cycles > charge)
    high = (ohms == 0) | ((ohms != NEVER) & ((tia.vblank & 0x80) == 0) & full)
    up = pick(register & 1, fire) == 0
    driven = jnp.where(register < 12, high, up & (register < 14))
    bits = jnp.where(register < 8, bits, jnp.where(driven, 0x80, 0))
    return bits | (noise & 0x3F)
