"""The replay memory against a plain record of everything that happened."""

import functools

import catch
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari.agents import replay as replays, rollout

STACK, CAPACITY, N = 3, 24, 4


def wander(key, observations):
    return jax.random.randint(key, (observations.shape[0],), 0, 3), ()


@functools.cache
def remembered(fill: bool, steps: int):
    """A memory after so many steps, and the whole record."""
    env = catch.make(balls=2, stack=STACK, fill=fill)

    @jax.jit
    def run(key):
        actors = rollout.start(env, key, N, 8)
        _, made, _ = rollout.collect(env, wander, key, actors, steps)
        replay = replays.make(CAPACITY, N, env.observation_shape)
        pairs = jax.tree.map(lambda x: x.reshape(-1, 2, *x.shape[1:]), made)
        replay, _ = jax.lax.scan(lambda r, s: (replays.add(r, s), None), replay, pairs)
        return replay, made

    replay, made = run(jax.random.key(0))
    return replay, jax.tree.map(np.asarray, made)


@pytest.mark.parametrize("fill", [False, True])
def test_stacks_are_put_together_again(fill) -> None:
    replay, record = remembered(fill, 40)
    look = jax.jit(replays.observation, static_argnums=(3, 4))
    for t in range(40 - CAPACITY + STACK - 1, 40):
        for env in range(N):
            seen = look(replay, t % CAPACITY, env, STACK, fill)
            np.testing.assert_array_equal(seen, record.observation[t, env])


@pytest.mark.parametrize("steps", [14, 40])
@pytest.mark.parametrize("prioritised", [False, True])
def test_transitions_are_those_that_happened(steps, prioritised) -> None:
    """Before the ring is full, and after it has gone round."""
    ahead, gamma = 3, 0.5
    replay, record = remembered(False, steps)
    draw = functools.partial(
        replays.sample,
        batch=512,
        steps=ahead,
        discount=gamma,
        stack=STACK,
        prioritised=prioritised,
    )
    drawn = jax.jit(draw)(replay, jax.random.key(5))
    drawn = jax.tree.map(np.asarray, drawn)
    times = set()
    for i in range(512):
        row, env = drawn.at[0][i], drawn.at[1][i]
        t = row if steps <= CAPACITY else row + CAPACITY * (row < steps - CAPACITY)
        times.add(int(t))
        np.testing.assert_array_equal(drawn.observation[i], record.observation[t, env])
        assert drawn.action[i] == record.action[t, env]
        assert drawn.valid[i] == record.valid[t, env]
        total, factor, k = 0.0, 1.0, t
        for k in range(t, t + ahead):
            total += factor * record.reward[k, env]
            factor *= gamma
            if record.end[k, env]:
                factor *= not record.terminal[k, env]
                break
        assert drawn.reward[i] == pytest.approx(total)
        assert drawn.discount[i] == pytest.approx(factor)
        np.testing.assert_array_equal(
            drawn.following[i], record.observation[k + 1, env]
        )
    oldest = max(steps - CAPACITY, 0) + STACK - 1
    everything = set(range(oldest, steps - ahead))
    if prioritised:  # mere resets have no weight
        everything = {t for t in everything if record.valid[t].any()}
    assert times == everything


def test_priorities_set_how_often(key) -> None:
    """Frequencies and importance follow the weights."""
    replay, _ = remembered(False, 40)
    weight = np.zeros((CAPACITY, N), np.float32)
    rows = np.arange(40 - CAPACITY + STACK - 1, 37) % CAPACITY
    weight[rows[0], 0], weight[rows[3], 2] = 1, 3
    weight[38 % CAPACITY, 1] = 1e6  # too new to have three steps ahead
    replay = replay._replace(weight=jnp.asarray(weight))
    drawn = replays.sample(
        replay,
        key,
        4000,
        steps=3,
        discount=0.9,
        stack=STACK,
        prioritised=True,
        beta=0.5,
    )
    light = (drawn.at[0] == rows[0]) & (drawn.at[1] == 0)
    heavy = (drawn.at[0] == rows[3]) & (drawn.at[1] == 2)
    assert bool((light | heavy).all())
    assert float(heavy.mean()) == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(drawn.importance[light], 1, rtol=1e-6)
    np.testing.assert_allclose(drawn.importance[heavy], 3**-0.5, rtol=1e-6)


def test_errors_become_weights(key) -> None:
    replay, _ = remembered(False, 40)
    drawn = replays.sample(replay, key, 8, steps=1, discount=0.9, stack=STACK)
    error = jnp.linspace(-4, 4, 8)
    again = replays.reweigh(replay, drawn, error, 0.5)
    for i in range(8):
        later = [
            j
            for j in range(8)
            if (drawn.at[0][j], drawn.at[1][j]) == (drawn.at[0][i], drawn.at[1][i])
        ]
        if later == [i]:
            expected = (abs(float(error[i])) + 1e-3) ** 0.5 * bool(drawn.valid[i])
            assert float(again.weight[drawn.at][i]) == pytest.approx(expected, rel=1e-5)
    assert float(again.heaviest) == pytest.approx(4.001**0.5, rel=1e-5)
