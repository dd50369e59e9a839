"""The record of play: what follows what, ends, resets, sums."""

import catch
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari.agents import rollout


def stay(key: jax.Array, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Never moves; keeps the sum of what it sees."""
    number = observations.shape[0]
    seen = observations.reshape(number, -1).astype(jnp.int32).sum(-1)
    return jnp.ones(number, jnp.int32), seen


def play(env, steps: int, number: int = 16):
    actors = rollout.start(env, jax.random.key(1), number, 4)
    first = actors.observation
    run = jax.jit(lambda a: rollout.collect(env, stay, jax.random.key(2), a, steps))
    return first, *jax.tree.map(np.asarray, run(actors))


def test_two_balls_by_hand() -> None:
    """Five steps a ball, ten a game, one for the reset."""
    env = catch.make(balls=2)
    first, _, made, _ = play(env, 23)
    np.testing.assert_array_equal(made.observation[0], first)
    terminal = np.zeros(23, bool)
    terminal[[4, 9, 15, 20]] = True
    np.testing.assert_array_equal(made.terminal, np.tile(terminal[:, None], 16))
    np.testing.assert_array_equal(made.end, made.terminal)
    resets = ~made.valid
    assert (np.flatnonzero(resets[:, 0]) == [10, 21]).all()
    assert (resets == resets[:, :1]).all()
    assert (made.age[:, 0] == [*range(11), *range(11), 0]).all()
    # The reset's step gives nothing, whatever was done.
    assert (made.reward[resets] == 0).all()
    assert set(np.unique(made.reward[made.terminal])) == {-1, 1}
    assert (made.reward[~made.terminal] == 0).all()
    # The final observation is there: the ball on the ground, or in the paddle.
    assert (made.observation[10][:, 0, :-1] == 0).all()
    top = made.observation[11][:, 0, 0] == 255
    assert top.any(-1).all()
    np.testing.assert_array_equal(
        made.extra, made.observation.astype(int).sum((2, 3, 4))
    )


def test_sums_count_whole_games() -> None:
    env = catch.make(balls=2)
    _, actors, made, tally = play(env, 23)
    points = np.where(made.reward > 0, 3, made.reward)
    assert tally.steps == 23 * 16
    assert tally.points == points.sum()
    assert tally.lost == -(points < 0).sum()
    assert tally.reward == made.reward.sum()
    assert tally.games == 2 * 16
    assert tally.length == 2 * 16 * 10
    assert tally.score == points[:22].sum()
    np.testing.assert_array_equal(actors.score, points[22:].sum(0))
    np.testing.assert_array_equal(actors.length, 1)


def test_a_truncated_step_is_an_end_but_not_terminal() -> None:
    env = catch.make(balls=2, limit=7)
    _, _, made, tally = play(env, 16)
    assert (np.flatnonzero(made.end[:, 0]) == [4, 6, 12, 14]).all()
    assert (np.flatnonzero(made.terminal[:, 0]) == [4, 12]).all()
    assert (np.flatnonzero(~made.valid[:, 0]) == [7, 15]).all()
    assert tally.games == 2 * 16


def test_records_join() -> None:
    """Two rollouts in a row are one; nothing restarts between them."""
    env = catch.make(balls=2)
    actors = rollout.start(env, jax.random.key(1), 4, 4)
    keys = jax.random.split(jax.random.key(3), 8)

    def steps(actors, keys):
        made = []
        for key in keys:
            actors, step, _ = rollout.step(env, stay, key, actors)
            made.append(step)
        return actors, jax.tree.map(lambda *x: np.stack(x), *made)

    _, one = steps(actors, keys)
    half, _ = steps(actors, keys[:4])
    np.testing.assert_array_equal(one.observation[4], half.observation)
    _, three = steps(half, keys[4:])
    np.testing.assert_array_equal(one.observation[4:], three.observation)
    np.testing.assert_array_equal(one.age[4:], three.age)


def test_it_refuses_an_empty_batch() -> None:
    with pytest.raises(ValueError, match="got 0 and 4"):
        rollout.start(catch.make(), jax.random.key(0), 0, 4)


def test_games_start_one_after_another() -> None:
    """Every other step, before which nothing is to be learned from them."""
    env = catch.make(balls=2)
    actors = rollout.start(env, jax.random.key(1), 8, 4, stagger=16)
    run = jax.jit(lambda a: rollout.collect(env, stay, jax.random.key(2), a, 40))
    _, made, tally = jax.tree.map(np.asarray, run(actors))
    starts = made.valid.argmax(0)
    assert sorted(starts) == list(range(0, 16, 2))
    for i, begun in enumerate(starts):
        assert not made.valid[:begun, i].any()
        assert not made.end[:begun, i].any()
        assert (made.reward[:begun, i] == 0).all()
        assert (made.age[begun : begun + 11, i] == np.arange(11)).all()
        assert made.terminal[begun + 4, i]
        assert made.terminal[begun + 9, i]
        assert not made.valid[begun + 10, i]
    assert tally.games == sum((40 - starts + 1) // 11)
