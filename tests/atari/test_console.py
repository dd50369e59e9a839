"""The whole console against ale-py: random code, and rare features by name."""

from pathlib import Path

import edges
import fuzz
import jax
import numpy as np
import pytest
import rig
from jax import numpy as jnp

from atari import cartridge, console

FUZZED = 11
FRAMES = 24
EDGES = (
    "partial_frames",
    "stale_rows",
    "colour_loss",
    "too_many_lines",
    "cosmic_ark",
    "late_hmove",
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, rig.Record]:
    """All cartridges of this file, played side by side."""
    images = [getattr(edges, name)() for name in EDGES]
    images += [fuzz.cartridge(seed) for seed in range(FUZZED)]
    # Noops, with a direction held in frames 8 and 9.
    actions = [0] * 8 + [3, 3] + [0] * (FRAMES - 10)
    folder = tmp_path_factory.mktemp("roms")
    pal = [EDGES.index("colour_loss")]
    found = rig.play(images, folder, actions, pal)
    names = [*EDGES, *(f"fuzz{seed}" for seed in range(FUZZED))]
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("seed", range(FUZZED))
def test_random_code_runs_as_in_ale(records: dict[str, rig.Record], seed: int) -> None:
    """RAM, which holds collisions and timers, and the screen agree in every frame."""
    assert records[f"fuzz{seed}"].wrong is None


def test_most_random_code_was_compared_to_the_end(
    records: dict[str, rig.Record],
) -> None:
    """The comparison is not cut short by rules that see an end in random RAM."""
    lengths = [records[f"fuzz{seed}"].frames for seed in range(FUZZED)]
    assert np.median(lengths) == FRAMES + 1


def test_partial_frames(records: dict[str, rig.Record]) -> None:
    """A frame of 25,000 instructions is cut short and goes on in the next."""
    record = records["partial_frames"]
    assert record.wrong is None
    assert record.partial.any()
    assert not record.partial[:8].any()
    assert not record.partial[-1]


def test_stale_rows(records: dict[str, rig.Record]) -> None:
    """Rows that a short frame does not reach show the picture of two frames ago."""
    record = records["stale_rows"]
    assert record.wrong is None
    assert len(set(record.lines.tolist())) == 2
    short = int(np.argmin(record.lines[2:])) + 2
    lower = record.screens[:, 40]
    assert (lower[short] == lower[short - 2]).all()
    assert (lower[short] != record.screens[short, 5]).any()


def test_colour_loss(records: dict[str, rig.Record]) -> None:
    """PAL colours turn odd, grey, after a frame of an odd number of lines."""
    record = records["colour_loss"]
    assert record.wrong is None
    odd = record.lines % 2 == 1
    assert odd.any()
    assert not odd.all()
    for t in range(1, len(odd)):
        assert (record.screens[t, 100] % 2 == odd[t - 1]).all()


def test_too_many_lines(records: dict[str, rig.Record]) -> None:
    """The first write to the TIA after line 290 ends the frame."""
    record = records["too_many_lines"]
    assert record.wrong is None
    assert 291 in record.lines


def test_cosmic_ark(records: dict[str, rig.Record]) -> None:
    """HMM0 rewritten 21 cycles after HMOVE draws missile 0 as a field of stars."""
    record = records["cosmic_ark"]
    assert record.wrong is None
    rows = record.screens[-1, 12:40] == 0x0E
    assert len({tuple(np.flatnonzero(row)) for row in rows}) > 8
    hidden = ~rows.any(1)
    assert hidden.sum() >= len(rows) // 4


def test_late_hmove(records: dict[str, rig.Record]) -> None:
    """HMOVE at all cycles of a line, with all motions, moves objects as in ALE."""
    record = records["late_hmove"]
    assert record.wrong is None
    assert len(np.unique(record.screens[-1])) >= 4


@pytest.fixture(scope="module")
def cart() -> cartridge.Cartridge:
    """A cartridge of random code."""
    return cartridge.load(fuzz.cartridge(3))


def test_a_batch_plays_as_its_members(cart: cartridge.Cartridge) -> None:
    """One console, a batch and a batch of batches agree; so do eager and jit."""
    frame = jax.jit(console.run_frame)
    first = console.power_on(cart)
    other = console.system_reset(cart, first, jnp.int32(99))
    state = jax.tree.map(lambda a, b: jnp.stack([a, b]), first, other)
    square = jax.tree.map(lambda x: jnp.stack([x, x, x]), state)
    still = console.neutral()
    row = jax.jit(jax.vmap(console.run_frame, (None, 0, None)))
    grid = jax.jit(
        jax.vmap(jax.vmap(console.run_frame, (None, 0, None)), (None, 0, None))
    )
    for _ in range(4):
        first, other = frame(cart, first, still), frame(cart, other, still)
        state, square = row(cart, state, still), grid(cart, square, still)
    expected = jax.tree.map(lambda a, b: jnp.stack([a, b]), first, other)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[2], y), square, expected)


def test_pictures_do_not_change_the_game(cart: cartridge.Cartridge) -> None:
    """Without rendering everything but the screens is the same."""
    drawn = undrawn = console.power_on(cart)
    frame = jax.jit(console.run_frame, static_argnames="render")
    for _ in range(4):
        drawn = frame(cart, drawn, console.neutral())
        undrawn = frame(cart, undrawn, console.neutral(), render=False)
    assert console.screen(drawn).any()
    assert not console.screen(undrawn).any()
    drawn = drawn._replace(screens=undrawn.screens)
    jax.tree.map(np.testing.assert_array_equal, drawn, undrawn)


def test_a_copy_is_a_clone(cart: cartridge.Cartridge) -> None:
    """The same state plays on in the same way, whatever happened in between."""
    frame = jax.jit(console.run_frame)
    state = saved = frame(cart, console.power_on(cart), console.neutral())
    for _ in range(3):
        state = frame(cart, state, console.neutral())
    again = saved
    for _ in range(3):
        again = frame(cart, again, console.neutral())
    jax.tree.map(np.testing.assert_array_equal, state, again)


def test_types_are_kept(cart: cartridge.Cartridge) -> None:
    """A frame keeps every shape and type, so that frames scan."""
    state = console.power_on(cart)
    after = jax.eval_shape(console.run_frame, cart, state, console.neutral())
    jax.tree.map(lambda a, b: np.testing.assert_equal(a.dtype, b.dtype), state, after)
    jax.tree.map(lambda a, b: np.testing.assert_equal(a.shape, b.shape), state, after)


@pytest.mark.long
def test_more_random_code_runs_as_in_ale(tmp_path: Path) -> None:
    """Two hundred cartridges of random code, with random actions."""
    images = [fuzz.cartridge(1000 + seed) for seed in range(200)]
    actions = np.random.default_rng(0).integers(0, 18, 40).tolist()
    found = rig.play(images, tmp_path, actions, [])
    assert {i: r.wrong for i, r in enumerate(found) if r.wrong is not None} == {}
