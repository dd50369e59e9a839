"""Rules of every game against ale-py: random play, and memory set at random."""

import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from ale import interface, of_game, outcome, record, shuffling_cartridge
from ale_py import Action as AleAction
from jax import numpy as jnp
from jax.extend import core

from atari import rom
from atari.games import Memory, rules, settings
from atari.games.rules import test as parse_test, value as parse_value
from atari.games.selection import Until

SAMPLE = ["pong", "breakout", "seaquest", "qbert", "tennis", "miniature_golf", "klax"]
# Two bytes must come right at once for their mode to be selected.
FEW_BITS = {"ms_pacman": 3, "human_cannonball": 3, "pacman": 3, "et": 3}


def replay(name: str, rams: np.ndarray, resets: np.ndarray) -> np.ndarray:
    """Our outcomes `int[T, 3]` for recorded memory."""
    game = rules(name)
    first = game.start(settings(name).modes[0])

    def step(last, row):
        ram, reset = row
        memory = Memory(ram)
        settled = game.update(memory, game.update(memory, first))
        last = jax.tree.map(lambda a, b: jnp.where(reset, a, b), settled, last)
        signals = game.update(memory, last)
        return signals, (signals.reward, signals.lives, signals.terminal)

    scan = jax.jit(lambda *rows: jax.lax.scan(step, first, rows)[1])
    return np.stack([np.asarray(column) for column in scan(rams, resets)], axis=1)


def check_play(name: str, frames: int) -> None:
    rams, expected, resets = record(
        name, frames, seed=zlib.crc32(name.encode()) % 2**31
    )
    found = replay(name, rams, resets)
    expected[resets, 0] = found[resets, 0] = 0
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [name for name in SAMPLE if name != "klax"])
def test_play_gives_the_same_outcomes(name: str) -> None:
    check_play(name, 1500)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in rom.names() if name != "klax"])
def test_long_play_gives_the_same_outcomes(name: str) -> None:
    check_play(name, 10_000)


def constants(name: str) -> list[int]:
    """Numbers that the rules of a game compare with."""
    game = rules(name)
    first = game.start(settings(name).modes[0])
    traced = jax.make_jaxpr(lambda ram, last: game.update(Memory(ram), last))(
        jnp.zeros(128, jnp.uint8), first
    )

    def literals(jaxpr: core.Jaxpr) -> set[int]:
        found = set()
        for equation in jaxpr.eqns:
            for variable in equation.invars:
                if isinstance(variable, core.Literal) and np.ndim(variable.val) == 0:
                    found.add(int(variable.val) & 0xFF)
            for inner in core.jaxprs_in_params(equation.params):
                found |= literals(inner)
        return found

    return sorted(literals(traced.jaxpr))


def calm_memory(name: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Memory that ends no game and, if luck will have it, shows the default mode."""
    game, choices = rules(name), settings(name)
    first = game.start(choices.modes[0])
    script = choices.selection.script(choices.modes[0]) if choices.selection else ()
    tests = [step.test for step in script if isinstance(step, Until)]

    @jax.jit
    @jax.vmap
    def calm(ram: jax.Array) -> jax.Array:
        memory = Memory(ram)
        ready = jnp.array([test(memory) for test in tests] or [True]).all()
        over = game.update(memory, game.update(memory, first)).terminal
        return ~over * (1 + ready)

    while True:
        memory = rng.integers(0, 256, (2000, 128), dtype=np.uint8)
        memory[1000:] &= rng.integers(0, 256, (1000, 128), dtype=np.uint8)
        memory[1500:] &= rng.integers(0, 256, (500, 128), dtype=np.uint8)
        fit = np.asarray(calm(memory))
        yield from rng.permutation(memory[fit == fit.max()])


def check_memory(name: str, frames: int, folder: Path) -> int:
    """Sets memory to numbers that matter; returns how many games ended."""
    path = folder / f"{name}.bin"
    path.write_bytes(shuffling_cartridge(FEW_BITS.get(name, 0xFF)))
    ale = interface(path)
    pool = np.array([*constants(name), 0, 1, 0x0A, 0x10, 0x21, 0x80, 0x99, 0xFF])
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    beginnings = calm_memory(name, rng)
    game = rules(name)
    first = game.start(settings(name).modes[0])
    update = jax.jit(lambda ram, last: game.update(Memory(ram), last))
    endings = idle = settling = 0
    signals = None
    for _ in range(frames):
        if signals is None or signals.terminal:
            endings += signals is not None
            over = True
            while over:
                set_memory(ale, next(beginnings))
                ale.reset_game()
                over = ale.game_over()
            signals = first
            for _ in range(8):
                signals = update(ale.getRAM(), signals)
            # What the rules remember may go back further than the last memory.
            settling = 3
        if idle:
            idle -= 1
        else:
            idle = 60 if rng.random() < 0.01 else 0
            change = rng.random(128) < rng.choice([0.02, 0.2, 1.0])
            drawn = np.where(
                rng.random(128) < 0.7,
                rng.choice(pool, 128),
                rng.integers(0, 256, 128),
            )
            set_memory(ale, np.where(change, drawn, ale.getRAM()))
        reward = ale.act(AleAction.NOOP)
        ram = ale.getRAM()
        signals = jax.tree.map(np.asarray, update(ram, signals))
        found = (int(signals.reward), int(signals.lives), int(signals.terminal))
        if settling:
            settling -= 1
            if ale.game_over() != signals.terminal:
                signals = None
            continue
        assert found == outcome(ale, reward), f"memory {ram.tolist()}"
    return endings


def set_memory(ale, values: np.ndarray) -> None:
    for index, byte in enumerate(values):
        ale.setRAM(index, int(byte))


@pytest.mark.parametrize("name", [name for name in SAMPLE if name != "klax"])
def test_memory_set_at_random_gives_the_same_outcomes(name: str, tmp_path) -> None:
    check_memory(name, 600, tmp_path)


@pytest.mark.parametrize(
    ("allowed", "misses", "level"), [(3, 2, 1), (3, 3, 1), (0, 0, 5), (3, 1, 0x99)]
)
def test_klax_reads_the_memory_of_its_cartridge(
    allowed: int, misses: int, level: int, tmp_path: Path
) -> None:
    """Misses, level and, in RAM, the bin."""
    extra = bytearray(128)
    extra[0x69], extra[0x6E], extra[0x1D] = allowed, misses, level
    extra[0x34:0x37] = 0x12, 0x34, 0x56
    memory = Memory(jnp.zeros(128, jnp.uint8), jnp.array(extra, jnp.uint8))
    found = rules("klax").update(memory, rules("klax").start(0))
    assert found.reward == 563412
    path = tmp_path / "klax.bin"
    image = bytearray(shuffling_cartridge())
    image[0x80:0x100] = extra
    path.write_bytes(image)
    ale = interface(path)
    for active, free in itertools.product((3, 4), (0, 1, 2, 3, 6, 10, 14, 18)):
        ram = np.full(128, 7, np.uint8)
        ram[0x28], ram[0x40] = active, free
        set_memory(ale, ram)
        ale.reset_game()
        memory = Memory(jnp.asarray(ram), jnp.array(extra, jnp.uint8))
        found = rules("klax").update(memory, rules("klax").start(0))
        assert found.terminal == ale.game_over()
        assert found.lives == ale.lives()


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in rom.names() if name != "klax"])
def test_much_memory_set_at_random(name: str, tmp_path: Path) -> None:
    check_memory(name, 2000, tmp_path)


@pytest.mark.parametrize("name", rom.names())
def test_settings_are_those_of_ale(name: str) -> None:
    ale, ours = of_game(name), settings(name)
    assert list(ours.minimal_actions) == [a.value for a in ale.getMinimalActionSet()]
    assert list(ours.legal_actions) == [a.value for a in ale.getLegalActionSet()]
    assert list(ours.modes) == ale.getAvailableModes()
    assert list(ours.difficulties) == ale.getAvailableDifficulties()


def test_rules_batch_and_keep_their_types() -> None:
    """One compiled function serves any memory, and a scan can carry the signals."""
    for name in SAMPLE:
        game = rules(name)
        first = game.start(0)
        batch = jax.tree.map(lambda x: jnp.stack([x, x]), first)
        ram = jnp.zeros((2, 128), jnp.uint8)
        after = jax.vmap(lambda r, s, game=game: game.update(Memory(r), s))(ram, batch)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), batch) == jax.tree.map(
            lambda x: (x.shape, x.dtype), after
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("80", 0x57), ("80&0F+1", 8), ("80>>4", 5), ("80>>4&1-3", -2)],
)
def test_notation_of_values(text: str, expected: int) -> None:
    memory = Memory(jnp.full(128, 0x57, jnp.uint8))
    assert parse_value(text)(memory) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("80=57", True), ("80!=57", False), ("80>56 81=0", False), ("80=0|81=57", True)],
)
def test_notation_of_tests(text: str, expected: bool) -> None:
    memory = Memory(jnp.full(128, 0x57, jnp.uint8))
    assert parse_test(text)(memory) == expected


@pytest.mark.parametrize("parse", [parse_value, parse_test])
def test_bad_notation_is_refused(parse) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        parse("XY=1")
