"""Evaluations: whole games, once each, by their protocols."""

import ale as oracle
import catch
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari.agents import evaluate


def follow(params, key, observations, greedy):
    """Moves to the ball; the best player."""
    board = observations[:, 0]
    ball = (board == 255).any(1).argmax(-1)
    paddle = (board[:, -1] == 128).argmax(-1)
    return jnp.sign(ball - paddle) + 1


def wander(params, key, observations, greedy):
    return jax.random.randint(key, (len(observations),), 0, 3)


def test_the_best_player_catches_all() -> None:
    found = evaluate.on_device(catch.make(balls=3), follow, None, 20)
    np.testing.assert_array_equal(found.score, 9)
    np.testing.assert_array_equal(found.length, 15)
    assert found.over.all()


def test_games_are_cut_off_where_the_environment_does() -> None:
    calls = []
    found = evaluate.on_device(
        catch.make(balls=3, limit=7),
        wander,
        None,
        8,
        chunk=2,
        on_step=lambda steps, over: calls.append((steps, over)),
    )
    np.testing.assert_array_equal(found.length, 7)
    assert calls == [(2, 0), (4, 0), (6, 0), (7, 8)]


@pytest.mark.parametrize(
    ("protocol", "noops", "sticky"), [("noop", 30, 0.0), ("sticky", 0, 0.25)]
)
def test_protocols(protocol, noops, sticky) -> None:
    config = evaluate.game("pong", protocol).config
    assert config.noop_max == noops
    assert config.repeat_action_probability == sticky
    assert not config.episodic_life
    assert not config.clip_rewards
    assert config.max_frames == 108_000


def test_unknown_protocol() -> None:
    with pytest.raises(ValueError, match="unknown protocol 'human'; known: noop"):
        evaluate.game("pong", "human")
    with pytest.raises(ValueError, match="unknown protocol 'human'"):
        evaluate.in_ale("pong", wander, None, 2, protocol="human")


def test_ale_scores_whole_games() -> None:
    """Of a player who does nothing, against ALE's own account of it."""
    ale = oracle.interface(oracle.path_of("ms_pacman"))
    ale.reset_game()
    expected, frames = 0, 0
    while not ale.game_over():
        expected += ale.act(0)
        frames += 1

    def still(params, key, observations, greedy):
        return np.zeros(len(observations), np.int64)

    calls = []
    found = evaluate.in_ale(
        "ms_pacman", still, None, 3, on_step=lambda *call: calls.append(call)
    )
    assert found.over.all()
    # Idle starts do not change how an idle game goes.
    np.testing.assert_array_equal(found.score, expected)
    assert calls[-1] == (found.length.max(), 3)
    assert abs(found.length.max() - frames // 4) < 30


def test_ale_cuts_long_games_off() -> None:
    found = evaluate.in_ale("pong", wander, None, 2, max_frames=400)
    assert found.over.all()
    assert (found.length <= 100).all()
