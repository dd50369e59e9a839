"""Pixels and collisions against a model of one pixel at a time; motion and strobes."""

import functools
from collections.abc import Callable

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari import beam, tia
from atari.tia import LINE, Tia

COPIES = {0: (0,), 1: (0, 16), 2: (0, 32), 3: (0, 16, 32), 4: (0, 64), 5: (0,)}
COPIES |= {6: (0, 32, 64), 7: (0,)}
# The bit of each collision: register CXM0P + bit // 2, line 7 if even, else 6.
PAIRS = "m0p1 m0p0 m1p0 m1p1 p0pf p0bl p1pf p1bl m0pf m0bl m1pf m1bl blpf --- p0p1 m0m1"


def random_tia(seed: int) -> dict[str, int]:
    """Registers of a line with many objects."""
    rng = np.random.default_rng(seed)
    byte = lambda: int(rng.integers(256))  # noqa: E731
    fields = dict.fromkeys(Tia._fields, 0)
    for name in ("nusiz0", "nusiz1", "grp0", "grp1", "old_grp0", "old_grp1", "ctrlpf"):
        fields[name] = byte()
    for name in ("p0", "p1", "m0", "m1", "ball"):
        fields[name] = int(rng.integers(160))
    for name in ("refp0", "refp1", "late0", "late1", "vdelp0", "vdelp1", "vdelbl"):
        fields[name] = int(rng.integers(2)) * (8 if name.startswith("refp") else 1)
    for name in ("enam0", "enam1", "enabl", "old_enabl"):
        fields[name] = int(rng.integers(4) > 0) * 2
    field = rng.integers(0, 2, 20) * (rng.random() < 0.8)
    fields["playfield"] = int(sum(int(b) << i for i, b in enumerate(field)))
    fields["mirrored"] = int(sum(int(b) << 19 - i for i, b in enumerate(field)))
    fields["reflect"] = int(rng.integers(2))
    colours = {"colubk": 2, "colupf": 4, "colup0": 6, "colup1": 8}
    return fields | colours | {"vsync_end": tia.NEVER}


def objects_at(r: dict[str, int], x: int) -> dict[str, bool]:
    """Which objects light pixel x: Stella Programmer's Guide, one pixel at a time."""
    on = {}
    for k in "01":
        mode = r["nusiz" + k] & 7
        grp = r["old_grp" + k] if r["vdelp" + k] else r["grp" + k]
        scale = {5: 2, 7: 4}.get(mode, 1)
        on["p" + k] = on["m" + k] = False
        for copy in COPIES[mode]:
            d = (x - r["p" + k] - copy - (scale > 1)) % 160 // scale
            if d < 8 and not (r["late" + k] and copy == 0):
                bit = d if r["refp" + k] else 7 - d
                on["p" + k] |= bool(grp >> bit & 1)
            width = 1 << (r["nusiz" + k] >> 4 & 3)
            near = (x - r["m" + k] - copy) % 160 < width
            on["m" + k] |= near and bool(r["enam" + k])
    enabled = r["old_enabl"] if r["vdelbl"] else r["enabl"]
    width = 1 << (r["ctrlpf"] >> 4 & 3)
    on["bl"] = bool(enabled) and (x - r["ball"]) % 160 < width
    cell = x // 4
    if cell >= 20:
        cell = 39 - cell if r["reflect"] else cell - 20
    on["pf"] = bool(r["playfield"] >> cell & 1)
    return on


def colour_at(r: dict[str, int], on: dict[str, bool], x: int) -> int:
    """The colour of a pixel by the TIA's priorities."""
    first, second = on["p0"] or on["m0"], on["p1"] or on["m1"]
    score, over = r["ctrlpf"] & 2, r["ctrlpf"] & 4
    half = r["colup0"] if x < 80 else r["colup1"]
    if over:
        if on["pf"] or on["bl"]:
            return r["colupf"]
        return r["colup0"] if first else r["colup1"] if second else r["colubk"]
    if first or (score and on["pf"] and x < 80):
        return r["colup0"]
    if second:
        return r["colup1"]
    if on["pf"]:
        return half if score else r["colupf"]
    return r["colupf"] if on["bl"] else r["colubk"]


@functools.cache
def drawer() -> Callable:
    """Draws a line in pieces; each entry of `stops` is where the beam is sent."""

    def draw(state: Tia, stops: jax.Array) -> tuple[Tia, jax.Array]:
        def piece(carry: tuple, stop: jax.Array) -> tuple:
            state, line = carry
            state, pixels, _ = beam.advance(state, jnp.int32(0), jnp.int32(10), stop)
            at = pixels.column // 4
            old = jax.lax.dynamic_slice(line, (at,), (8,))
            new = jnp.stack([beam.paint(pixels, i, old[i]) for i in range(8)])
            return (state, jax.lax.dynamic_update_slice(line, new, (at,))), None

        state, line = jax.lax.scan(piece, (state, jnp.full(40, -1, jnp.int32)), stops)[
            0
        ]
        return state, jax.lax.bitcast_convert_type(line, jnp.uint8).reshape(160)

    return jax.jit(draw)


def as_tia(r: dict[str, int]) -> Tia:
    """Registers as a state."""
    r = {k: both_ways(v) if "grp" in k else v for k, v in r.items()}
    return Tia(**{name: jnp.int32(value) for name, value in r.items()})


def both_ways(byte: int) -> int:
    """A byte with its mirror image above it."""
    return byte | int(f"{byte:08b}"[::-1], 2) << 8


@pytest.mark.parametrize("seed", range(24))
def test_a_line_of_pixels(seed: int) -> None:
    """Colours and all collisions equal the model's, wherever the line is cut."""
    r = random_tia(seed)
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(1, LINE, 6))
    stops = np.repeat(np.append(cuts, LINE), 6).astype(np.int32)
    after, line = drawer()(as_tia(r), jnp.asarray(stops))
    seen = [objects_at(r, x) for x in range(160)]
    expected = [colour_at(r, on, x) for x, on in enumerate(seen)]
    np.testing.assert_array_equal(line, expected)
    latches = 0
    for bit, pair in enumerate(PAIRS.split()):
        if pair != "---":
            a, b = pair[:2], pair[2:]
            latches |= any(on[a] and on[b] for on in seen) << bit
    assert int(after.collisions) == latches


def test_score_colours_under_priority() -> None:
    """Both bits set: score colours if no other object is on, as in the reference."""
    r = random_tia(3) | {"ctrlpf": 6, "playfield": 0xFFFFF, "mirrored": 0xFFFFF}
    r |= dict.fromkeys(("grp0", "grp1", "old_grp0", "old_grp1"), 0)
    r |= dict.fromkeys(("enam0", "enam1", "enabl", "old_enabl"), 0)
    stops = jnp.full(6, LINE, jnp.int32)
    _, line = drawer()(as_tia(r), stops)
    np.testing.assert_array_equal(line, [r["colup0"]] * 80 + [r["colup1"]] * 80)
    _, line = drawer()(as_tia(r | {"enam0": 2}), stops)
    assert (line == r["colupf"]).all()


def test_vertical_blank_is_black_and_collides_with_nothing() -> None:
    """VBLANK bit 1."""
    r = random_tia(1) | {"vblank": 2}
    after, line = drawer()(as_tia(r), jnp.full(6, LINE, jnp.int32))
    assert not line.any()
    assert int(after.collisions) == 0


def test_comb_blanks_eight_pixels_of_one_line() -> None:
    """After HMOVE the line's first eight pixels are black, then the comb is gone."""
    r = random_tia(2) | {"comb": 1}
    after, line = drawer()(as_tia(r), jnp.full(6, LINE, jnp.int32))
    assert not line[:8].any()
    assert line[8:].all()
    assert int(after.comb) == 0


def write(state: Tia, register: int, value: int, clock: int) -> Tia:
    """A write at a colour clock of the first line (a multiple of 3)."""
    cycles = jnp.int32(clock // 3)
    one = jnp.int32(1)
    return tia.write(
        state, jnp.int32(register), jnp.int32(value), cycles, one, one, one * 0, one > 0
    )[0]


def blank(**fields: int) -> Tia:
    """A TIA after reset."""
    state = tia.reset(jnp.int32(0))
    return state._replace(**{name: jnp.int32(v) for name, v in fields.items()})


@pytest.mark.parametrize("motion", range(16))
def test_hmove_in_blank_moves_by_the_register(motion: int) -> None:
    """At its proper place HMOVE moves 7 left to 8 right, around the screen's edge."""
    state = blank(p0=3)
    state = write(state, tia.HMP0, motion << 4, 0)
    state = write(state, tia.HMOVE, 0, 9)
    left = motion if motion < 8 else motion - 16
    assert int(state.p0) == (3 - left) % 160
    assert int(state.comb) == 1


def test_hmove_in_mid_line_moves_nothing() -> None:
    """From cycle 21 to cycle 54 there is no motion, whatever the register."""
    for motion in (0x70, 0x80):
        state = write(blank(m1=80), tia.HMM1, motion, 0)
        assert int(write(state, tia.HMOVE, 0, 90).m1) == 80
        assert int(write(state, tia.HMOVE, 0, 162).m1) == 80


@pytest.mark.parametrize(
    ("register", "field", "clock", "position"),
    [
        (tia.RESP0, "p0", 30, 3),
        (tia.RESP1, "p1", 99, 36),
        (tia.RESM0, "m0", 30, 2),
        (tia.RESM1, "m1", 99, 35),
        (tia.RESBL, "ball", 225, 1),
    ],
)
def test_strobes(register: int, field: str, clock: int, position: int) -> None:
    """Objects appear 4 or 5 pixels after the strobe, or at the left edge."""
    assert int(getattr(write(blank(), register, 0, clock), field)) == position


def test_vertical_delay() -> None:
    """GRP1 passes GRP0 and the ball on to their delayed copies, GRP0 passes GRP1 on."""
    state = write(blank(), tia.GRP0, 0x11, 0)
    state = write(state, tia.ENABL, 2, 3)
    state = write(state, tia.GRP1, 0x22, 6)
    assert (int(state.old_grp0), int(state.old_enabl)) == (0x8811, 2)
    state = write(state, tia.GRP0, 0x33, 9)
    assert (int(state.old_grp1), int(state.old_grp0)) == (0x4422, 0x8811)


def test_missile_is_let_go_in_the_player() -> None:
    """RESMP holds a missile in the middle of its player, also of a wide one."""
    for nusiz, middle in ((0, 4), (5, 8), (7, 16)):
        state = write(blank(p0=150, nusiz0=nusiz), tia.RESMP0, 2, 0)
        assert int(write(state, tia.RESMP0, 0, 3).m0) == (150 + middle) % 160


def test_wsync_halts_to_the_line_end_once() -> None:
    """Only after a read, and not when the line has just begun."""

    def halt(cycles: int, after_read: int) -> int:
        one = jnp.int32(1)
        args = (jnp.int32(tia.WSYNC), one * 0, jnp.int32(cycles), jnp.int32(after_read))
        return int(tia.write(blank(), *args, one, one * 0, one > 0)[1])

    assert [halt(10, 1), halt(75, 1), halt(76, 1), halt(10, 0)] == [66, 1, 0, 0]


def test_paddle_charges_by_its_resistance() -> None:
    """INPT0 rises when the capacitor is full; dumped or out of range it is constant."""
    ohms = (400_000, 0, tia.NEVER, 0)
    fire = (jnp.int32(0), jnp.int32(1))

    def read(state: Tia, address: int, cycles: int) -> int:
        resistance = tuple(jnp.int32(x) for x in ohms)
        noise = jnp.int32(0xFF)
        at = jnp.int32(cycles)
        return int(tia.read(state, jnp.int32(address), noise, at, fire, resistance))

    let_go = blank(dump_end=1000)
    full = 1000 + 400_000 * 119 // 6250
    assert read(let_go, 8, full) == 0x3F
    assert read(let_go, 8, full + 1) == 0xBF
    assert read(blank(vblank=0x80), 8, 10**6) == 0x3F
    assert [read(let_go, 9, 0), read(let_go, 10, 10**6)] == [0xBF, 0x3F]
    assert [read(let_go, 12, 0), read(let_go, 13, 0)] == [0xBF, 0x3F]
