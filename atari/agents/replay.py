"""A replay memory on the device: a ring of the last steps of many environments.

A stack of pictures is kept as its newest one; the others are those of the steps before.
Sampling by priority needs no tree: sums over a million numbers take a GPU microseconds.
"""

from typing import Any, NamedTuple

import jax
from jax import lax, numpy as jnp

from atari.agents import returns
from atari.agents.rollout import Steps


class Replay(NamedTuple):
    """The last `C` steps of `N` environments; a pytree of arrays."""

    picture: jax.Array  # uint8[C, N, ...], the newest of the stack before the step
    action: jax.Array  # int32[C, N]
    reward: jax.Array  # float32[C, N]
    terminal: jax.Array  # bool[C, N]
    end: jax.Array  # bool[C, N]
    valid: jax.Array  # bool[C, N]
    age: jax.Array  # int32[C, N]
    weight: jax.Array  # float32[C, N], priority to its power
    heaviest: jax.Array  # float32[], weight of what has not been learned from yet
    added: jax.Array  # int32[], steps so far


class Sample(NamedTuple):
    """Transitions of up to n steps, `[B]` each."""

    observation: jax.Array  # uint8[B, S, ...]
    action: jax.Array  # int32
    reward: jax.Array  # float32, discounted sum
    discount: jax.Array  # float32, of the value of
    following: jax.Array  # uint8[B, S, ...]
    valid: jax.Array  # bool
    importance: jax.Array  # float32, correction for the priorities, at most 1
    at: tuple[jax.Array, jax.Array]  # int32: row and environment


def make(capacity: int, num_envs: int, observation_shape: tuple[int, ...]) -> Replay:
    """An empty memory.

    Args:
      capacity: `C`, steps of each environment.
      num_envs: `N`.
      observation_shape: Of a stack of observations, oldest first.
    """
    shape = (capacity, num_envs)
    no, zero = jnp.zeros(shape, bool), jnp.zeros(shape)
    whole = jnp.zeros(shape, jnp.int32)
    picture = jnp.zeros((*shape, *observation_shape[1:]), jnp.uint8)
    one, none = jnp.float32(1), jnp.int32(0)
    return Replay(picture, whole, zero, no, no, no, whole, zero, one, none)


def add(replay: Replay, steps: Steps) -> Replay:
    """Puts steps `[T, N]` in the place of the oldest; `T` divides the capacity."""
    capacity = replay.action.shape[0]
    at = replay.added % capacity

    def put(ring: jax.Array, new: jax.Array) -> jax.Array:
        return lax.dynamic_update_slice_in_dim(ring, new.astype(ring.dtype), at, 0)

    weight = jnp.where(steps.valid, replay.heaviest, 0)
    return replay._replace(
        picture=put(replay.picture, steps.observation[:, :, -1]),
        action=put(replay.action, steps.action),
        reward=put(replay.reward, steps.reward),
        terminal=put(replay.terminal, steps.terminal),
        end=put(replay.end, steps.end),
        valid=put(replay.valid, steps.valid),
        age=put(replay.age, steps.age),
        weight=put(replay.weight, weight),
        added=replay.added + steps.action.shape[0],
    )


def size(replay: Replay) -> jax.Array:
    """Steps of each environment that it holds, int32[]."""
    return jnp.minimum(replay.added, replay.action.shape[0])


def observation(
    replay: Replay, row: jax.Array, env: jax.Array, stack: int, fill: bool
) -> jax.Array:
    """The stack of pictures before one step: uint8[S, ...].

    Args:
      replay: The memory.
      row: int32[], of the ring.
      env: int32[].
      stack: `S`.
      fill: What is older than a game is its first picture, not black.
    """
    back = jnp.arange(stack - 1, -1, -1)
    age = replay.age[row, env]
    rows = (row - jnp.minimum(back, age)) % replay.action.shape[0]
    pictures = replay.picture[rows, env]
    if fill:
        return pictures
    seen = (back <= age).reshape(-1, *[1] * (pictures.ndim - 1))
    return jnp.where(seen, pictures, 0)


def sample(
    replay: Replay,
    key: jax.Array,
    batch: int,
    *,
    steps: int,
    discount: float,
    stack: int,
    fill: bool = False,
    prioritised: bool = False,
    beta: float | jax.Array = 1.0,
) -> Sample:
    """Draws transitions, uniformly or by priority (Schaul et al., 2016).

    Args:
      replay: Holds at least `stack + steps` steps of each environment.
      key: PRNG key.
      batch: `B`.
      steps: n.
      discount: Gamma.
      stack: `S`.
      fill: See `observation`.
      prioritised: In proportion to the weights.
      beta: How far `importance` makes up for that.

    Returns:
      Transitions; those that are not `valid` are mere resets.
    """
    capacity, num_envs = replay.action.shape
    row_key, env_key = jax.random.split(key)
    # The oldest have lost pictures of their stack, the newest have no n steps ahead.
    oldest = replay.added - size(replay) + stack - 1
    span = replay.added - steps - oldest
    importance = jnp.ones(batch)
    if prioritised:
        order = (oldest + jnp.arange(capacity)) % capacity
        here = jnp.arange(capacity) < span
        totals = jnp.cumsum(jnp.where(here, replay.weight[order].sum(1), 0))
        drawn = jax.random.uniform(row_key, (batch,)) * totals[-1]
        offset = jnp.minimum(jnp.searchsorted(totals, drawn, side="right"), span - 1)
        row = (oldest + offset) % capacity
        sums = jnp.cumsum(replay.weight[row], axis=1)
        drawn = jax.random.uniform(env_key, (batch,)) * sums[:, -1]
        env = jax.vmap(lambda s, x: jnp.searchsorted(s, x, side="right"))(sums, drawn)
        env = jnp.minimum(env, num_envs - 1)
        weight = jnp.maximum(replay.weight[row, env], 1e-12)
        importance = weight**-beta
        importance /= importance.max()
    else:
        row = (oldest + jax.random.randint(row_key, (batch,), 0, span)) % capacity
        env = jax.random.randint(env_key, (batch,), 0, num_envs)

    def one(row: jax.Array, env: jax.Array) -> tuple[Any, ...]:
        rows = (row + jnp.arange(steps)) % capacity
        ahead = returns.n_step(
            replay.reward[rows, env],
            replay.terminal[rows, env],
            replay.end[rows, env],
            discount,
        )
        then = (row + ahead.steps) % capacity
        return (
            observation(replay, row, env, stack, fill),
            replay.action[row, env],
            ahead.reward,
            ahead.discount,
            observation(replay, then, env, stack, fill),
            replay.valid[row, env],
        )

    seen, action, reward, factor, following, valid = jax.vmap(one)(row, env)
    return Sample(
        seen, action, reward, factor, following, valid, importance, (row, env)
    )


def reweigh(
    replay: Replay, sample: Sample, error: jax.Array, exponent: float
) -> Replay:
    """Sets weights by the size of errors, float32[B]."""
    weight = (jnp.abs(error) + 1e-3) ** exponent * sample.valid
    heaviest = jnp.maximum(replay.heaviest, weight.max())
    return replay._replace(
        weight=replay.weight.at[sample.at].set(weight), heaviest=heaviest
    )
