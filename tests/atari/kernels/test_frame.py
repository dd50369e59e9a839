"""The kernel, run by Pallas' interpreter, against the plain loop, to the last bit."""

import functools
from collections.abc import Callable, Iterator

import edges
import fuzz
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari import cartridge, console, game
from atari.kernels import behind, frame, machine

FRAMES = 10
EDGES = ("partial_frames", "stale_rows", "too_many_lines", "cosmic_ark", "late_hmove")

pytestmark = pytest.mark.skipif(
    not frame.available(), reason="this JAX has no Triton lowering of Pallas"
)


@pytest.fixture(autouse=True)
def _auto() -> Iterator[None]:
    few = frame.FEW
    yield
    console.set_backend("auto")
    frame.FEW = few


def runner(backend: str, axes: tuple, render: bool = True) -> Callable:
    """A jitted frame of a batch by a backend."""
    console.set_backend(backend)
    run = functools.partial(console.run_frame, render=render)
    return jax.jit(jax.vmap(run, axes))


def inputs(number: int, size: int) -> console.Inputs:
    """Controllers of one frame, different for each console."""
    rng = np.random.default_rng(number)
    still = jax.tree.map(lambda leaf: jnp.full(size, leaf), console.neutral())
    return still._replace(
        swcha=jnp.asarray(0xFF ^ (rng.integers(0, 16, size) << 4), jnp.int32),
        swchb=still.swchb - (number == 3),
        fire0=jnp.asarray(rng.integers(0, 2, size), jnp.int32),
        ohms0=jnp.asarray(rng.integers(27_450, 790_196, size), jnp.int32),
    )


def compare(
    cart: cartridge.Cartridge, state: console.State, axes: tuple, frames: int
) -> None:
    """Plays frames by all ways; every leaf of the states must be the same.

    The kernel with a warp for 32 consoles, and with one for each.
    """
    size = state.front.shape[0]
    plays = []
    for name, few in (("lax", 0), ("interpret", 0), ("interpret", size)):
        frame.FEW = few
        plays.append(runner(name, axes))
        plays[-1](cart, state, inputs(0, size))  # compiles while that is chosen
    states = [state] * len(plays)
    for number in range(frames):
        pressed = inputs(number, size)
        states = [
            play(cart, old, pressed) for play, old in zip(plays, states, strict=True)
        ]
        plain, *kernels = states
        for lanes, kernel in zip((32, 1), kernels, strict=True):
            for (path, a), b in zip(
                jax.tree_util.tree_leaves_with_path(plain),
                jax.tree.leaves(kernel),
                strict=True,
            ):
                where = f"frame {number}, {lanes} lanes{jax.tree_util.keystr(path)}"
                np.testing.assert_array_equal(a, b, where)


@pytest.mark.parametrize(
    ("notes", "crowd", "frames"),
    [(machine.NOTES, behind.CROWD, FRAMES), (16, behind.CROWD, 5), (256, 33, 5)],
)
def test_different_cartridges_side_by_side(
    notes: int, crowd: int, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random code and rare features, a cartridge a console.

    With room for few notes a lane has often to wait for its beam while others go on.
    With too few lanes for any crowd the beam leaves all notes that it can.
    """
    monkeypatch.setattr(machine, "NOTES", notes)
    monkeypatch.setattr(behind, "CROWD", crowd)
    images = [getattr(edges, name)() for name in EDGES]
    images += [fuzz.cartridge(seed) for seed in range(6)]
    carts = [cartridge.load(image) for image in images]
    cart = jax.tree.map(lambda *leaves: jnp.stack(leaves), *carts)
    state = jax.vmap(functools.partial(console.power_on, height=210))(cart)
    compare(cart, state, (0, 0, 0), frames)


def consoles_of(name: str, size: int) -> tuple[cartridge.Cartridge, console.State]:
    """A game on consoles whose timers woke up with different values."""
    cart = game.load(name).cartridge
    one = console.power_on(cart)
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), one)
    reset = jax.vmap(console.system_reset, (None, 0, 0))
    return cart, reset(cart, many, 25 + 2 * jnp.arange(size, dtype=jnp.int32))


def test_one_game_compiled_for_its_cartridge() -> None:
    """A cartridge that is known while compiling; more consoles than a program has."""
    cart, state = consoles_of("pong", 35)
    assert cartridge.fixed(cartridge.known(cart))
    compare(cart, state, (None, 0, 0), 4)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["asterix", "solaris", "tutankham", "robotank", "klax", "pitfall2"]
)
def test_every_kind_of_cartridge(name: str) -> None:
    """Banks, slices, extra RAM and the DPC chip."""
    cart, state = consoles_of(name, 3)
    compare(cart, state, (None, 0, 0), 60)


@pytest.mark.parametrize("backend", ["lax", "interpret"])
def test_a_console_that_is_not_active_stands_still(backend: str) -> None:
    """Nothing of it changes; the others play on as ever."""
    cart, state = consoles_of("pong", 3)
    axes = (None, 0, 0)
    console.set_backend(backend)
    play = jax.jit(
        jax.vmap(lambda c, s, i, a: console.run_frame(c, s, i, True, a), (*axes, 0))
    )
    pressed = inputs(0, 3)
    state = play(cart, state, pressed, jnp.ones(3, bool))
    all_on = play(cart, state, pressed, jnp.ones(3, bool))
    some = play(cart, state, pressed, jnp.array([True, False, True]))
    for old, full, partial in zip(
        *map(jax.tree.leaves, (state, all_on, some)), strict=True
    ):
        np.testing.assert_array_equal(partial[1], old[1])
        np.testing.assert_array_equal(partial[::2], full[::2])
    assert (all_on.ram[1] != state.ram[1]).any()


def test_an_unknown_backend_is_refused() -> None:
    """By name."""
    with pytest.raises(ValueError, match="'cuda'"):
        console.set_backend("cuda")
