"""The reset of real games against ale-py: modes, difficulties, starting actions."""

import jax
import numpy as np
import pytest
from ale import interface, path_of
from jax import numpy as jnp

from atari import environment, game as games, rom
from atari.games import settings
from atari.games.rules import Memory
from atari.program import compiled

SEED = 3


def check_reset(name: str, mode: int, difficulty: int, steps: int = 3) -> None:
    """A reset and a few frames equal ALE's in memory, picture and outcome."""
    env = environment.make(
        name,
        "gym_v5",
        rng="ale",
        mode=mode,
        difficulty=difficulty,
        full_actions=True,
        frame_skip=2,
    )
    ale = interface(path_of(name), seed=SEED, sticky=0.25)
    ale.setMode(mode)
    ale.setDifficulty(difficulty)
    ale.reset_game()
    state, timestep = jax.jit(env.reset)(SEED)
    step = jax.jit(env.step)
    actions = ale.getLegalActionSet()
    rng = np.random.default_rng(SEED)
    for _ in range(steps + 1):
        np.testing.assert_array_equal(state.play.console.ram[:128], ale.getRAM())
        np.testing.assert_array_equal(timestep.observation, ale.getScreenRGB())
        assert timestep.info.lives == ale.lives()
        assert state.over == ale.game_over()
        assert state.play.frames == ale.getEpisodeFrameNumber()
        index = rng.integers(len(actions))
        reward = sum(ale.act(actions[index]) for _ in range(2))
        state, timestep = step(jax.random.key(0), state, index)
        assert timestep.reward == reward


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "mode", "difficulty"),
    [
        ("pong", 0, 0),
        ("breakout", 4, 1),
        ("air_raid", 3, 0),
        ("double_dunk", 5, 0),
        ("adventure", 1, 0),
        ("klax", 0, 0),
        ("surround", 2, 0),
        ("casino", 0, 0),
        ("berzerk", 16, 0),
        ("video_checkers", 12, 0),
    ],
)
def test_resets_equal_those_of_ale(name: str, mode: int, difficulty: int) -> None:
    check_reset(name, mode, difficulty)


@pytest.mark.parametrize("name", rom.names())
def test_programs_hold_together(name: str) -> None:
    """Every row leads to a row, and the starting actions are at the end."""
    offered = settings(name)
    for mode in offered.modes[:20]:
        program = compiled(offered, mode)
        rows = program.row(jnp.arange(program.stop + 1))
        for targets in (rows.following[:-1], rows.leave):
            assert targets.min() >= 0
            assert targets.max() <= program.stop
        assert (rows.frames > 0).all()
        count = len(offered.starting_actions)
        last = rows.action[program.end - count : program.end]
        assert last.tolist() == list(offered.starting_actions)
        for number, test in enumerate(program.tests):
            assert (rows.test[rows.guarded == 1] == number).any()
            assert test(Memory(jnp.zeros(128, jnp.uint8))).shape == ()


def test_illegal_actions_do_nothing() -> None:
    skiing = games.load("skiing")
    actions = jnp.arange(18)
    legal = jax.vmap(lambda action: games.legal(skiing, action))(actions)
    assert legal.tolist() == [0, 0, 2, 3, 4, 5, 6, 7, 8, 9, *[0] * 8]
    assert games.legal(games.load("pong"), jnp.int32(40)) == 0
