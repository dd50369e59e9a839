"""Several games in one batch: each game's environments are stepped together.

A compiled step emulates one game, so a mixed batch is a row of batches of one game
each, which share the shapes of observations and actions.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
from jax import numpy as jnp

from atari.environment import Environment
from atari.episode import State, TimeStep


class Batch(NamedTuple):
    """Environments of several games, ordered by game.

    Attributes:
      reset: `(key) -> (states, timestep)`; one state a game, and time steps with a
        leading axis of `size`.
      step: `(key, states, actions) -> (states, timestep)`; actions are int32[size].
      size: Environments.
      num_actions: Actions of each.
    """

    reset: Callable[[jax.Array], tuple[tuple[State, ...], TimeStep]]
    step: Callable[..., tuple[tuple[State, ...], TimeStep]]
    size: int
    num_actions: int


def batch(envs: Sequence[Environment], counts: Sequence[int]) -> Batch:
    """Puts environments side by side.

    Args:
      envs: One environment a game, made with `full_actions=True` and one `size`.
      counts: How many of each.

    Raises:
      ValueError: Observations or actions differ, or there is not one count a game.

    Example:
      >>> games = [make(name, "machado") for name in ("pong", "breakout")]
      >>> both = batch(games, (32, 32))
      >>> states, timestep = jax.jit(both.reset)(jax.random.key(0))
    """
    if len(envs) != len(counts) or not envs:
        raise ValueError(f"{len(counts)} counts for {len(envs)} environments")
    shapes = {(env.observation_shape, env.num_actions) for env in envs}
    if len(shapes) > 1:
        raise ValueError(
            f"observations and numbers of actions differ: {sorted(shapes)}; make the "
            "environments with one size and full_actions=True"
        )
    starts = [sum(counts[:i]) for i in range(len(counts))]

    def join(timesteps: Sequence[TimeStep]) -> TimeStep:
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *timesteps)

    def reset(key: jax.Array) -> tuple[tuple[State, ...], TimeStep]:
        keys = jax.random.split(key, sum(counts))
        states, timesteps = zip(
            *(
                jax.vmap(env.reset)(keys[start : start + count])
                for env, start, count in zip(envs, starts, counts, strict=True)
            ),
            strict=True,
        )
        return states, join(timesteps)

    def step(
        key: jax.Array, states: tuple[State, ...], actions: jax.Array
    ) -> tuple[tuple[State, ...], TimeStep]:
        keys = jax.random.split(key, sum(counts))
        states, timesteps = zip(
            *(
                jax.vmap(env.step)(
                    keys[start : start + count], state, actions[start : start + count]
                )
                for env, state, start, count in zip(
                    envs, states, starts, counts, strict=True
                )
            ),
            strict=True,
        )
        return states, join(timesteps)

    return Batch(reset, step, sum(counts), envs[0].num_actions)
